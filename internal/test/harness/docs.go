package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// ReadFile returns the text of a file, or fails the test.
func ReadFile(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// CodeCompiles checks that the Go blocks of a Markdown page compile in the
// module that the test runs in, each in a function of its own below scope, a
// whole program. A block may declare variables that it does not use.
func CodeCompiles(t *testing.T, page, scope string) {
	t.Helper()
	parts := strings.Split(ReadFile(t, page), "```go\n")
	if len(parts) < 2 {
		t.Fatalf("%s has no code", page)
	}
	var program strings.Builder
	program.WriteString(scope)
	line := 1 + strings.Count(parts[0], "\n")
	for _, part := range parts[1:] {
		block, _, closed := strings.Cut(part, "```")
		if !closed {
			t.Fatalf("%s:%d: the block has no end", page, line)
		}
		fmt.Fprintf(&program, "\nfunc _() error {\n//line %s:%d\n%s\nreturn nil }\n", filepath.Base(page), line+1, block)
		line += 1 + strings.Count(part, "\n")
	}
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(program.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "build", "-gcflags=-e", "-o", os.DevNull, file).CombinedOutput()
	if err == nil {
		return
	}
	known := 0
	for message := range strings.Lines(string(out)) {
		switch {
		case strings.HasPrefix(message, "#"): // the package's name
		case strings.Contains(message, ": declared and not used: "):
			known++
		default:
			t.Error(strings.TrimSpace(message))
		}
	}
	if known == 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
