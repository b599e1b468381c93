package redlock_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path"
	"path/filepath"
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
	{module + "/fence", []string{"cmd/redlock", "examples/*"}},
	{module + "/session", []string{"cmd/redlock", "examples/*"}},
	{module + "/lock", []string{module, "cmd/redlock", "examples/*", "internal/test/...", "chaos_test", "session", "cache", "fence", "web"}},
	{module + "/web", []string{"cmd/redlock"}},
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

// heavy are the modules and packages that programs do not link because they use
// a lock: those of tests, of the command line, of the cache's local tier.
var heavy = []string{
	module + "/embedded",
	"github.com/alecthomas/kong",
	"github.com/alicebob/miniredis",
	"github.com/go-redsync/redsync",
	"github.com/maypok86/otter",
	"github.com/ory/dockertest",
	"github.com/yuin/gopher-lua",
}

func TestLayout_FacesLinkWhatTheyNeed(t *testing.T) {
	for face, links := range map[string][]string{
		"lock": nil, "lease": nil, "cluster": nil, "session": nil,
		"mutex": {"github.com/go-redsync/redsync"},
	} {
		out, err := exec.Command("go", "list", "-deps", "./"+face).Output()
		if err != nil {
			t.Fatalf("go list -deps ./%s: %v", face, err)
		}
		packages := strings.Fields(string(out))
		if !slices.Contains(packages, module+"/"+face) {
			t.Errorf("go list -deps ./%s does not list itself", face)
		}
		for _, root := range heavy {
			linked := slices.ContainsFunc(packages, func(p string) bool { return matches(root+"/...", p) })
			if linked != slices.Contains(links, root) {
				t.Errorf("%s links %s: %t", face, root, linked)
			}
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
		{"session", module + "/fence", false},
		{"fence", module + "/embedded", false},
		{"embedded", module + "/internal/test/redisserver", false},
		{"embedded", module + "/internal/test/ports", true},
		{"embedded", "github.com/alicebob/miniredis/v2", true},
		{"session", module + "/lock", true},
		{"fence", module + "/lock", true},
		{"cmd/redlock", module + "/fence", true},
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

// mostExported is how many names the faces may export together: those of one key;
// of several keys WithLocks, LockAll, MaxKeys, and Locks with its 7 methods; of keys
// with a limit Limit, MaxLimit, Slot, WriterLimit, and Lease.Slot; and of modes,
// which were added later, Mode and its 6 values.
const mostExported = 150 + 11 + 5 + 7

func TestLayout_FacesStaySmall(t *testing.T) {
	total, counts := 0, ""
	for _, face := range []string{"lock", "lease", "mutex", "cluster"} {
		n := exported(t, face)
		if n == 0 {
			t.Errorf("package %s exports nothing", face)
		}
		total += n
		counts += fmt.Sprintf(" %s %d", face, n)
	}
	if total > mostExported {
		t.Errorf("the faces export %d functions, types, methods, constants and variables, of at most %d:%s", total, mostExported, counts)
	}
}

// exported is how many functions, types, methods of exported types, constants
// and variables a package declares for everybody, in files that are no tests.
func exported(t *testing.T, folder string) (n int) {
	t.Helper()
	files, err := filepath.Glob(folder + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			n += exportedBy(d)
		}
	}
	return n
}

// exportedBy is how many exported names a declaration declares.
func exportedBy(d ast.Decl) (n int) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d.Recv.List[0].Type))) {
			return 1
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if spec.Name.IsExported() {
					n++
				}
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					if name.IsExported() {
						n++
					}
				}
			}
		}
	}
	return n
}

func TestLayout_ExportedNamesAreCounted(t *testing.T) {
	for source, want := range map[string]int{
		"type T[P any] struct{}": 1, "type t struct{}": 0, "type (A = int; b = int; C = T)": 2,
		"const (X = iota; Y; z)": 2, "var P, q, _ = 1, 2, 3": 1,
		"func F() {}": 1, "func f() {}": 0, "func (T) M() {}": 1, "func (*T[P]) M() {}": 1, "func (*t) M() {}": 0, "func (T) m() {}": 0,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "p.go", "package p; "+source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if got := exportedBy(f.Decls[0]); got != want {
			t.Errorf("%s exports %d names, want %d", source, got, want)
		}
	}
}
