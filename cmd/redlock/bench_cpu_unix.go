//go:build unix

package main

import (
	"syscall"
	"time"
)

// usedCPU returns the CPU time of this program so far.
func usedCPU() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return -1
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
