// SPDX-License-Identifier: BSD-3-Clause
// What the machine has whatever the command line says: power-off and a console.
DefinitionBlock ("", "DSDT", 2, "VMEMDV", "TOYVMM", 1)
{
    Name (\_S5, Package () { 5, 0, 0, 0 })

    Device (\_SB.COM1)
    {
        Name (_HID, EisaId ("PNP0501"))
        Name (_UID, 1)
        Name (_CRS, ResourceTemplate ()
        {
            IO (Decode16, 0x3f8, 0x3f8, 1, 8)
            Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 4 }
        })
    }
}
