/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_CORE_NAMES_H
#define VMEMDEV_CORE_NAMES_H
/*
 * Stands before lib/core/names.h while the library is analysed, so that the analyser names
 * functions as the source does.
 */

#endif
