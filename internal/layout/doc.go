// Package layout checks which packages of this module may import which others:
// dependencies point in one direction, and nothing that is made for tests ends
// up in a program. It has no code of its own besides that test.
package layout
