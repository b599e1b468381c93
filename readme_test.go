package redlock_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
	if lines := strings.Count(program, "\n"); lines > 32 {
		t.Errorf("the first program has %d lines, more than 32", lines)
	}
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "run", file).CombinedOutput()
	want := regexp.MustCompile(`^order 42 is mine\nerror: <nil>\nerror: redlock: stale fencing token of "order:42": \d+, but \d+ was seen; .*\n$`)
	if err != nil || !want.Match(out) {
		t.Errorf("it printed %q (%v), want %v", out, err, want)
	}
}
