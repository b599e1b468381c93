package layout

import (
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/venta-hq/redlock"
	order  = "cmd/redlock -> session, cache -> lock -> lease -> register, mutex -> cluster -> internal leaves"
)

// A place is a folder of the repository with everything below it, and the
// other places its non-test files may import.
type place struct {
	folder  string
	imports []string
}

// The places, in the order above, then those that stand beside it. A package
// belongs to the place with the longest matching folder; a place need not
// exist yet. Packages of one place may import each other.
var places = []place{
	{"cmd/redlock", []string{"session", "cache", "lock", "lease", "register", "mutex", "cluster", "internal", "embedded"}},
	{"session", []string{"lock", "lease", "register", "mutex", "cluster", "internal"}},
	{"cache", []string{"lock", "lease", "register", "mutex", "cluster", "internal"}},
	{"lock", []string{"lease", "mutex", "cluster", "internal"}},
	{"lease", []string{"register", "mutex", "cluster", "internal"}},
	{"register", []string{"cluster", "internal"}},
	{"mutex", []string{"cluster", "internal"}},
	{"cluster", []string{"internal"}},
	{"internal", nil},

	// The root holds documentation at most.
	{".", nil},
	// In-process nodes, for the demo and for tests.
	{"embedded", []string{"internal"}},
	// Programs to read and run.
	{"examples", []string{"session", "cache", "lock", "lease", "mutex", "cluster", "embedded"}},
	// Made for tests.
	{"internal/nodetest", []string{"internal/redisproc", "embedded", "internal"}},
	{"internal/redisproc", []string{"internal/nodetest", "embedded", "internal"}},
	{"internal/sim", []string{"lock", "lease", "mutex", "cluster", "internal"}},
	{"chaos_test", []string{
		"session", "cache", "lock", "lease", "mutex", "cluster", "internal",
		"embedded", "internal/nodetest", "internal/redisproc",
	}},
}

// confined names modules that only one place may import outside of tests.
var confined = []struct{ path, place string }{
	{"github.com/alicebob/miniredis", "embedded"},
	{"github.com/ory/dockertest", "chaos_test"},
	{"github.com/yuin/gopher-lua", "internal/sim"},
}

// violations says, one line each and sorted, what in a map of packages to
// their imports breaks the layout. Packages are named by their folder ("." is
// the root), imports as Go writes them.
func violations(imports map[string][]string) []string {
	var found []string
	for pkg, paths := range imports {
		home, ok := placeOf(pkg)
		if !ok {
			found = append(found, fmt.Sprintf("%s has no place in the layout: give it one in internal/layout", pkg))
			continue
		}
		for _, p := range paths {
			if why := forbidden(home, p); why != "" {
				found = append(found, fmt.Sprintf("%s must not import %s: %s", pkg, p, why))
			}
		}
	}
	slices.Sort(found)
	return found
}

// forbidden says why a package at home must not import a path, or "".
func forbidden(home place, importPath string) string {
	for _, c := range confined {
		if within(importPath, c.path) && home.folder != c.place {
			return "outside of tests only " + c.place + " does"
		}
	}
	if !within(importPath, module) {
		return ""
	}
	target, ok := placeOf(relative(importPath))
	switch {
	case !ok:
		return "it has no place in the layout"
	case target.folder == home.folder, slices.Contains(home.imports, target.folder):
		return ""
	case target.folder == "internal/nodetest", target.folder == "internal/redisproc", target.folder == "internal/sim":
		return "it is made for tests"
	case target.folder == "embedded":
		return "in-process nodes are for cmd/redlock and for tests"
	}
	return home.folder + " may import " + describe(home.imports) + "; the order is " + order
}

func describe(folders []string) string {
	if len(folders) == 0 {
		return "no other place"
	}
	return strings.Join(folders, ", ")
}

// placeOf returns the place with the longest folder that contains pkg.
func placeOf(pkg string) (best place, ok bool) {
	for _, p := range places {
		if within(pkg, p.folder) && (!ok || len(p.folder) > len(best.folder)) {
			best, ok = p, true
		}
	}
	return best, ok
}

// within reports whether a slash-separated path is root or lies below it.
func within(p, root string) bool {
	return p == root || strings.HasPrefix(p, root+"/")
}

// relative turns an import path of this module into its folder.
func relative(importPath string) string {
	return path.Join(".", strings.TrimPrefix(importPath, module))
}

// collect parses the import clauses of every non-test Go file below root,
// whatever its build constraints, and skips what the go command skips: nested
// modules, testdata, vendor, and names that begin with a dot or an underscore.
func collect(root string) (map[string][]string, error) {
	imports := make(map[string][]string)
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == root:
			return nil
		case d.IsDir():
			if skipped(name, d.Name()) {
				return fs.SkipDir
			}
			return nil
		case ignored(d.Name()) || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		folder, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		paths, err := fileImports(name)
		pkg := filepath.ToSlash(folder)
		imports[pkg] = append(imports[pkg], paths...)
		return err
	})
	for pkg, paths := range imports {
		slices.Sort(paths)
		imports[pkg] = slices.Compact(paths)
	}
	return imports, err
}

func skipped(dir, base string) bool {
	if ignored(base) || base == "testdata" || base == "vendor" {
		return true
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

func ignored(base string) bool {
	return strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")
}

func fileImports(name string) ([]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, spec := range file.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		paths = append(paths, p)
	}
	return paths, nil
}

// moduleRoot returns the folder of this module's go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		switch {
		case err == nil && strings.Contains(string(mod), "module "+module+"\n"):
			return dir, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return "", err
		case filepath.Dir(dir) == dir:
			return "", fmt.Errorf("no go.mod of %s above the working directory", module)
		}
		dir = filepath.Dir(dir)
	}
}

func TestImportsPointInOneDirection(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	imports, err := collect(root)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := imports["internal/layout"]; !ok {
		t.Fatalf("this package itself was not found below %s", root)
	}
	for _, v := range violations(imports) {
		t.Error(v)
	}
}

func TestEveryForbiddenImportIsSeen(t *testing.T) {
	const (
		miniredis  = "github.com/alicebob/miniredis/v2"
		dockertest = "github.com/ory/dockertest/v3"
	)
	for _, tt := range []struct {
		name, pkg, path, want string
	}{
		{"a step to the left", "cluster", module + "/mutex", "the order is"},
		{"a long way to the left", "cluster", module + "/cmd/redlock", "the order is"},
		{"mutex to lease", "mutex", module + "/lease", "mutex may import cluster, internal;"},
		{"lease to lock", "lease", module + "/lock", "the order is"},
		{"lock to session", "lock", module + "/session", "the order is"},
		{"session to cache", "session", module + "/cache", "the order is"},
		{"cache to session", "cache", module + "/session", "the order is"},
		{"anything to the root", "lock", module, "the order is"},
		{"the root to anything", ".", module + "/lock", "may import no other place"},
		{"a package below a place", "cluster/internal/breaker", module + "/lease", "the order is"},
		{"a target below a place", "cluster", module + "/lock/queue", "the order is"},

		{"leaf to cluster", "internal/heap", module + "/cluster", "the order is"},
		{"leaf to mutex", "internal/heap", module + "/mutex", "the order is"},
		{"leaf to lease", "internal/heap", module + "/lease", "the order is"},
		{"leaf to lock", "internal/heap", module + "/lock", "the order is"},
		{"leaf to session", "internal/heap", module + "/session", "the order is"},
		{"leaf to cache", "internal/heap", module + "/cache", "the order is"},
		{"leaf to cmd", "internal/heap", module + "/cmd/redlock", "the order is"},
		{"leaf to embedded", "internal/heap", module + "/embedded", "in-process nodes"},
		{"leaf to a test helper", "internal/heap", module + "/internal/nodetest", "made for tests"},
		{"test helper to cluster", "internal/nodetest", module + "/cluster", "the order is"},
		{"test helper to mutex", "internal/redisproc", module + "/mutex", "the order is"},
		{"embedded to cluster", "embedded", module + "/cluster", "the order is"},
		{"embedded to a test helper", "embedded", module + "/internal/redisproc", "made for tests"},

		{"cluster to embedded", "cluster", module + "/embedded", "in-process nodes"},
		{"mutex to embedded", "mutex", module + "/embedded", "in-process nodes"},
		{"lease to embedded", "lease", module + "/embedded", "in-process nodes"},
		{"lock to embedded", "lock", module + "/embedded", "in-process nodes"},
		{"cluster to nodetest", "cluster", module + "/internal/nodetest", "made for tests"},
		{"mutex to redisproc", "mutex", module + "/internal/redisproc", "made for tests"},
		{"lease to nodetest", "lease", module + "/internal/nodetest", "made for tests"},
		{"lock to redisproc", "lock", module + "/internal/redisproc", "made for tests"},
		{"lock to the simulation", "lock", module + "/internal/sim", "made for tests"},
		{"the simulation to embedded", "internal/sim", module + "/embedded", "in-process nodes"},
		{"cmd to nodetest", "cmd/redlock", module + "/internal/nodetest", "made for tests"},

		{"lock to miniredis", "lock", miniredis, "only embedded does"},
		{"cmd to miniredis", "cmd/redlock", miniredis, "only embedded does"},
		{"test helper to miniredis", "internal/nodetest", miniredis, "only embedded does"},
		{"a part of miniredis", "cluster", miniredis + "/server", "only embedded does"},
		{"lock to Lua", "lock", "github.com/yuin/gopher-lua", "only internal/sim does"},
		{"lease to dockertest", "lease", dockertest, "only chaos_test does"},
		{"embedded to dockertest", "embedded", dockertest, "only chaos_test does"},

		{"a package without a place", "locks", "fmt", "locks has no place"},
		{"a second command", "cmd/other", "fmt", "cmd/other has no place"},
		{"an import without a place", "cmd/redlock", module + "/util", "it has no place"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := violations(map[string][]string{tt.pkg: {"context", tt.path}})
			if len(got) != 1 || !strings.HasPrefix(got[0], tt.pkg+" ") || !strings.Contains(got[0], tt.want) {
				t.Errorf("%s importing %s: got %q, want one line about %s with %q", tt.pkg, tt.path, got, tt.pkg, tt.want)
			}
		})
	}
}

func TestTheLayoutAsDesignedIsAccepted(t *testing.T) {
	got := violations(map[string][]string{
		".":                        {"embed"},
		"cmd/redlock":              {module + "/lock", module + "/lease", module + "/cluster", module + "/embedded", module + "/internal/heap"},
		"cmd/redlock/demo":         {module + "/cmd/redlock/term", module + "/session"},
		"session":                  {module + "/lock", module + "/cluster"},
		"cache":                    {module + "/lock", module + "/mutex"},
		"lock":                     {"github.com/cenkalti/backoff/v4", module + "/lease", module + "/mutex", module + "/cluster"},
		"lease":                    {module + "/mutex", module + "/internal/heap"},
		"mutex":                    {"github.com/go-redsync/redsync/v4", module + "/cluster"},
		"cluster":                  {"github.com/redis/go-redis/v9", module + "/internal/heap"},
		"cluster/internal/breaker": {"time"},
		"embedded":                 {"github.com/alicebob/miniredis/v2", "github.com/alicebob/miniredis/v2/server"},
		"internal/heap":            {module + "/internal/ring"},
		"internal/nodetest":        {"testing", module + "/embedded", module + "/internal/redisproc"},
		"internal/redisproc":       {"os/exec", module + "/embedded"},
		"internal/sim":             {"github.com/yuin/gopher-lua", module + "/lock", module + "/cluster"},
		"chaos_test":               {"github.com/ory/dockertest/v3", module + "/lock", module + "/internal/nodetest"},
	})
	if len(got) != 0 {
		t.Errorf("rejected:\n%s", strings.Join(got, "\n"))
	}
	if got := violations(nil); len(got) != 0 {
		t.Errorf("a repository without packages: %q", got)
	}
}

func TestCollectReadsWhatEndsUpInPrograms(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":                   "module " + module + "\n",
		"doc.go":                   "package redlock\n",
		"cluster/a.go":             "package cluster\nimport (\"fmt\"; \"os\")\n",
		"cluster/b_windows.go":     "package cluster\nimport (\"fmt\"; \"" + module + "/lock\")\n",
		"cluster/c.go":             "//go:build neverbuilt\n\npackage cluster\nimport _ `syscall`\n",
		"cluster/a_test.go":        "package cluster\nimport \"testing\"\n",
		"cluster/_draft.go":        "package cluster\nimport \"unsafe\"\n",
		"cluster/testdata/t.go":    "package t\nimport \"unsafe\"\n",
		"cluster/vendor/v/v.go":    "package v\nimport \"unsafe\"\n",
		".cache/x/x.go":            "package x\nimport \"unsafe\"\n",
		"tools/go.mod":             "module " + module + "/tools\n",
		"tools/tools.go":           "package tools\nimport \"unsafe\"\n",
		"onlytests/only_test.go":   "package onlytests\nimport \"testing\"\n",
		"internal/heap/heap.go":    "package heap\n",
		"internal/heap/README.txt": "import \"unsafe\"\n",
	} {
		write(t, filepath.Join(root, filepath.FromSlash(name)), text)
	}

	got, err := collect(root)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		".":             nil,
		"cluster":       {"fmt", module + "/lock", "os", "syscall"},
		"internal/heap": nil,
	}
	if len(got) != len(want) {
		t.Errorf("got packages %v, want %v", got, want)
	}
	for pkg, paths := range want {
		if have, ok := got[pkg]; !ok || !slices.Equal(have, paths) {
			t.Errorf("%s: got %q, want %q", pkg, have, paths)
		}
	}
	if v := violations(got); len(v) != 1 || !strings.HasPrefix(v[0], "cluster must not import "+module+"/lock") {
		t.Errorf("an import in a file for another platform: got %q", v)
	}
}

func TestCollectNamesTheFileItCannotParse(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "lock", "broken.go"), "package lock\nimport fmt\n")
	if _, err := collect(root); err == nil || !strings.Contains(err.Error(), "broken.go") {
		t.Errorf("got %v, want an error that names broken.go", err)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
