//go:build !unix

package main

import "time"

// usedCPU is the CPU time of this program so far; this system is not asked.
func usedCPU() time.Duration { return -1 }
