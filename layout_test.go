package redlock_test

import (
	"errors"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/venta-hq/redlock"

// layoutRules say which packages alone may import a package or module outside
// of tests. They hold what neither Go's internal rule nor the ban on import
// cycles can: in-process nodes, test machinery and their libraries stay out of
// the programs of users. The first rule whose import matches decides. Patterns
// are those of [path.Match], and end in /... for everything below.
var layoutRules = []struct {
	imported string
	by       []string
}{
	{module + "/internal/test/ports", []string{"embedded", "internal/test/..."}},
	{module + "/internal/test/...", []string{"internal/test/...", "chaos_test"}},
	{module + "/embedded", []string{"cmd/redlock", "examples/*", "internal/test/...", "chaos_test"}},
	{module + "/cache", []string{"cmd/redlock", "examples/*"}},
	{module + "/session", []string{"cmd/redlock", "examples/*"}},
	{module + "/lock", []string{"cmd/redlock", "examples/*", "internal/test/...", "chaos_test", "session", "cache"}},
	{"github.com/alicebob/miniredis/...", []string{"embedded"}},
	{"github.com/ory/dockertest/...", []string{"chaos_test"}},
	{"github.com/yuin/gopher-lua/...", []string{"internal/test/sim"}},
}

func TestLayout_ImportsStayWhereTheyBelong(t *testing.T) {
	for _, goos := range []string{"linux", "darwin", "windows"} {
		cmd := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
		cmd.Env = append(cmd.Environ(), "GOOS="+goos)
		out, err := cmd.Output()
		if err != nil {
			var failed *exec.ExitError
			if errors.As(err, &failed) {
				t.Logf("%s", failed.Stderr)
			}
			t.Fatalf("go list: %v", err)
		}
		seen := 0
		for line := range strings.Lines(string(out)) {
			fields := strings.Fields(line)
			seen += len(fields) - 1
			for _, imported := range fields[1:] {
				if !mayImport(fields[0], imported) {
					t.Errorf("on %s, %s must not import %s: see layoutRules", goos, fields[0], imported)
				}
			}
		}
		if seen == 0 {
			t.Errorf("go list for %s shows no imports", goos)
		}
	}
}

func TestLayout_ForbiddenImportsAreSeen(t *testing.T) {
	for _, tt := range []struct {
		importer, imported string
		want               bool
	}{
		{"cluster", module + "/embedded", false},
		{"lock", module + "/internal/test/harness", false},
		{"cmd/redlock", module + "/internal/test/redisserver", false},
		{"cluster", "github.com/alicebob/miniredis/v2/server", false},
		{"lease", "github.com/ory/dockertest/v3", false},
		{"lock", "github.com/yuin/gopher-lua", false},
		{"session", module + "/cache", false},
		{"embedded", module + "/internal/test/redisserver", false},
		{"embedded", module + "/internal/test/ports", true},
		{"embedded", "github.com/alicebob/miniredis/v2", true},
		{"session", module + "/lock", true},
		{"internal/test/harness", module + "/embedded", true},
		{"cluster", "github.com/redis/go-redis/v9", true},
	} {
		if got := mayImport(module+"/"+tt.importer, tt.imported); got != tt.want {
			t.Errorf("may %s import %s: %t, want %t", tt.importer, tt.imported, got, tt.want)
		}
	}
}

// mayImport applies the first of layoutRules that is about the import.
func mayImport(importer, imported string) bool {
	for _, rule := range layoutRules {
		if !matches(rule.imported, imported) {
			continue
		}
		folder := strings.TrimPrefix(importer, module+"/")
		return slices.ContainsFunc(rule.by, func(pattern string) bool { return matches(pattern, folder) })
	}
	return true
}

// matches reports whether a slash-separated name fits a pattern.
func matches(pattern, name string) bool {
	if root, ok := strings.CutSuffix(pattern, "/..."); ok {
		return name == root || strings.HasPrefix(name, root+"/")
	}
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}
