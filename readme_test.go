package redlock_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/fence"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// The first program of the README is short, compiles, and prints what it should.
func TestReadme_FirstProgramRuns(t *testing.T) {
	_, rest, ok := strings.Cut(harness.ReadFile(t, "README.md"), "```go\n")
	program, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("README.md has no Go program")
	}
	lines := slices.DeleteFunc(strings.Split(program, "\n"), func(line string) bool { return line == "" })
	if len(lines) > 20 {
		t.Errorf("the first program has %d lines of code, more than 20", len(lines))
	}
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	nodes, err := embedded.Start(3)
	if err != nil {
		t.Fatal(err)
	}
	defer nodes.Close()
	binary := filepath.Join(filepath.Dir(file), "first.exe")
	if out, err := exec.Command("go", "build", "-o", binary, file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	prints := func(want string) {
		t.Helper()
		cmd := exec.Command(binary, nodes.URLs()...)
		cmd.Dir = filepath.Dir(file)
		out, err := cmd.CombinedOutput()
		if !regexp.MustCompile(`^\S+ \S+ order 42 is mine\n\S+ \S+ errors: `+want+` <nil>\n$`).Match(out) || err != nil {
			t.Errorf("it printed %q (%v)", out, err)
		}
	}
	prints("<nil>")
	newer := fence.File{Path: filepath.Join(filepath.Dir(file), "orders.fence")}
	if err := newer.CheckToken(t.Context(), "order:42", fence.MaxToken-1); err != nil {
		t.Fatal(err)
	}
	prints(`redlock: stale fencing token of "order:42": .*`)
}

// A word of a page has a letter or a digit, so the bars of tables are none. Code counts.
var word = regexp.MustCompile(`[^\s|]*[\pL\pN][^\s|]*`)

// The README is read in a minute: what does not fit belongs on a page of docs.
func TestReadme_IsShort(t *testing.T) {
	readme := harness.ReadFile(t, "README.md")
	if lines := strings.Count(readme, "\n"); lines > 200 {
		t.Errorf("README.md has %d lines, more than 200", lines)
	}
	if words := len(word.FindAllString(readme, -1)); words > 1300 {
		t.Errorf("README.md has %d words, more than 1,300", words)
	}
}
