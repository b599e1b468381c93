package redlock_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The first program of the README is short, compiles, and prints what it should.
func TestReadmeFirstProgramRuns(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(readme), "```go\n")
	program, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("README.md has no Go program")
	}
	if lines := strings.Count(program, "\n"); lines > 25 {
		t.Errorf("the first program has %d lines, more than 25", lines)
	}
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "run", file).CombinedOutput()
	if want := "order 42 is mine; fenced: true\nerror: <nil>\n"; err != nil || string(out) != want {
		t.Errorf("it printed %q (%v), want %q", out, err, want)
	}
}
