//go:build unix

package main

import (
	"fmt"
	"os"
	"testing"
)

// TestMain lets the test binary be a child of the workloads, as the program is.
func TestMain(m *testing.M) {
	if text := os.Getenv(orderVariable); text != "" {
		if err := obey(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}
