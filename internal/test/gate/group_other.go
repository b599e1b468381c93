//go:build !unix

package main

import (
	"os"
	"os/exec"
)

// interruptGroup interrupts cmd when its context ends.
func interruptGroup(cmd *exec.Cmd) {
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
}
