// SPDX-License-Identifier: BSD-3-Clause
/*
 * kexec KERNEL INITRD: runs in a guest. Starts that kernel in the place of the running one,
 * with the same command line: nobody resets the machine in between.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int trouble(const char *what)
{
	fprintf(stderr, "kexec: %s: %s\n", what, strerror(errno));
	return 2;
}

int main(int argc, char **argv)
{
	char line[4096];
	ssize_t len;
	int fd, kernel, initrd;

	if (argc != 3) {
		fputs("usage: kexec KERNEL INITRD\n", stderr);
		return 2;
	}
	fd = open("/proc/cmdline", O_RDONLY);
	len = read(fd, line, sizeof(line));
	if (len <= 0)
		return trouble("/proc/cmdline");
	line[len - 1] = '\0'; /* it ended in a newline */
	kernel = open(argv[1], O_RDONLY);
	if (kernel < 0)
		return trouble(argv[1]);
	initrd = open(argv[2], O_RDONLY);
	if (initrd < 0)
		return trouble(argv[2]);
	if (syscall(SYS_kexec_file_load, kernel, initrd, (unsigned long)len, line, 0UL))
		return trouble("kexec_file_load");
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, NULL);
	return trouble("reboot");
}
