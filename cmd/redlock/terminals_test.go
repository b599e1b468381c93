package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// needTerminals skips a test that needs terminals or shells, unless
// REDLOCK_TEST_TERMINALS is 1 and these programs are installed.
func needTerminals(t *testing.T, programs ...string) {
	t.Helper()
	if os.Getenv("REDLOCK_TEST_TERMINALS") != "1" {
		t.Skipf("needs %s: set REDLOCK_TEST_TERMINALS=1", strings.Join(programs, " and "))
	}
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("needed for tests with terminals: %v", err)
		}
	}
}
