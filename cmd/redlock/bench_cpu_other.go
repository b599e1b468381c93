//go:build !unix

package main

import "time"

// usedCPU returns -1: on this system the CPU time is unknown.
func usedCPU() time.Duration { return -1 }
