package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A fault whose lines were changed, that does not compile any more, or whose test was renamed, is noticed here and not only
// when the faults are tried.
func TestEveryFault_FitsTheCodeAndItsTestsExist(t *testing.T) {
	if os.Getenv("REDLOCK_TEST_PART") == "first" {
		t.Skip("it type-checks the code once for each fault: make gate does")
	}
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all, err := parse(listed)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 12 {
		t.Errorf("only %d faults were read", len(all))
	}
	b := bench{root: root, scratch: t.TempDir()}
	dirs := map[string]bool{}
	for _, m := range all {
		for _, e := range m.edits {
			if path.Ext(e.file) == ".go" {
				dirs["./"+path.Dir(e.file)] = true
			}
		}
	}
	c := newCompiler(t, root, slices.Sorted(maps.Keys(dirs))...)
	for _, m := range all {
		overlay, err := b.overlay("x", m.edits)
		if err == nil {
			err = c.compile(overlay, m.edits)
		}
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
		for _, test := range m.tests {
			if !declared(t, filepath.Join(root, test.pkg), test.name) {
				t.Errorf("%s: %s has no %s", m.name, test.pkg, test.name)
			}
		}
	}
}

// compiler checks the types of changed packages, without building them. What
// faults leave as it is, it reads once.
type compiler struct {
	root   string
	files  *token.FileSet
	types  types.Config
	parsed map[string]*ast.File      // by path
	pkgs   map[string]*build.Package // by directory
}

// newCompiler is for packages in these directories, with what they import
// compiled.
func newCompiler(t *testing.T, root string, dirs ...string) *compiler {
	t.Helper()
	args := []string{"list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}"}
	if raceDetector { // so that what was compiled for the tests is not compiled again
		args = append(args, "-race")
	}
	list := exec.CommandContext(t.Context(), "go", append(args, dirs...)...)
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatalf("%v: %v", list, err)
	}
	compiled := map[string]string{}
	for line := range strings.Lines(string(out)) {
		pkg, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		compiled[pkg] = file
	}
	open := func(pkg string) (io.ReadCloser, error) {
		if compiled[pkg] == "" {
			return nil, fmt.Errorf("%s was not compiled", pkg)
		}
		return os.Open(compiled[pkg])
	}
	files := token.NewFileSet()
	return &compiler{
		root: root, files: files, types: types.Config{Importer: importer.ForCompiler(files, "gc", open)},
		parsed: map[string]*ast.File{}, pkgs: map[string]*build.Package{},
	}
}

// compile checks the packages of some edits with the files of an overlay.
func (c *compiler) compile(overlay string, edits []edit) error {
	data, err := os.ReadFile(overlay)
	if err != nil {
		return err
	}
	var changed struct{ Replace map[string]string }
	if err := json.Unmarshal(data, &changed); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, e := range edits {
		if dir := path.Dir(e.file); path.Ext(e.file) == ".go" && !seen[dir] {
			seen[dir] = true
			if err := c.check(filepath.Join(c.root, filepath.FromSlash(dir)), changed.Replace); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *compiler) check(dir string, replace map[string]string) error {
	pkg := c.pkgs[dir]
	if pkg == nil {
		var err error
		if pkg, err = build.ImportDir(dir, 0); err != nil {
			return err
		}
		c.pkgs[dir] = pkg
	}
	var parsed []*ast.File
	for _, name := range pkg.GoFiles {
		name = filepath.Join(dir, name)
		file, err := c.parse(name, replace[name])
		if err != nil {
			return fmt.Errorf("does not compile: %w", err)
		}
		parsed = append(parsed, file)
	}
	if _, err := c.types.Check(pkg.Name, c.files, parsed, nil); err != nil {
		return fmt.Errorf("does not compile: %w", err)
	}
	return nil
}

// parse reads a file, or the one that replaces it if there is one.
func (c *compiler) parse(name, other string) (*ast.File, error) {
	if other != "" {
		return parser.ParseFile(c.files, other, nil, parser.SkipObjectResolution)
	}
	if file := c.parsed[name]; file != nil {
		return file, nil
	}
	file, err := parser.ParseFile(c.files, name, nil, parser.SkipObjectResolution)
	if err == nil {
		c.parsed[name] = file
	}
	return file, err
}

func TestCompiler_SeesWhatDoesNotCompile(t *testing.T) {
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, file := newCompiler(t, root, "./internal/record"), edit{file: "internal/record/doc.go"}
	for text, want := range map[string]bool{
		"package record\n": true, "package record\nfunc f() { x := 1 }\n": false, "package record\nfunc {": false,
	} {
		b := bench{root: root, scratch: t.TempDir()}
		raw, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file.file)))
		if err != nil {
			t.Fatal(err)
		}
		file.old, file.new = string(raw), text
		overlay, err := b.overlay("x", []edit{file})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.compile(overlay, []edit{file}); (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func declared(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name) + `\(`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if pattern.Match(text) {
			return true
		}
	}
	return false
}

func TestModuleOf_FindsModulesBesideTheLibrary(t *testing.T) {
	b := bench{root: t.TempDir()}
	for _, dir := range []string{"", "contrib/fence"} {
		dir = filepath.Join(b.root, filepath.FromSlash(dir))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "go.mod"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for pkg, want := range map[string][2]string{
		"./fence": {".", "./fence"}, "./contrib/fence": {"contrib/fence", "."}, "./contrib/fence/pgxfence": {"contrib/fence", "./pgxfence"},
		"./contrib/other": {".", "./contrib/other"}, ".": {".", "."},
	} {
		if dir, from := b.moduleOf(pkg); dir != want[0] || path.Clean(from) != path.Clean(want[1]) {
			t.Errorf("%s is %s in %s, want %v", pkg, from, dir, want)
		}
	}
}

func TestEdit_Apply_ReplacesWholeLinesThatStandExactlyOnce(t *testing.T) {
	const text = "a\n\tif x {\nb\n\tif x {\nc\n"
	for _, tt := range []struct {
		name, old, new, want string
	}{
		{"the only one", "b\n", "B\n", "a\n\tif x {\nB\n\tif x {\nc\n"},
		{"the first line", "a\n", "", "\tif x {\nb\n\tif x {\nc\n"},
		{"with what surrounds it", "\tif x {\nc\n", "d\n", "a\n\tif x {\nb\nd\n"},
		{"twice", "\tif x {\n", "d\n", ""},
		{"nowhere", "e\n", "d\n", ""},
		{"the end of a line", "if x {\nc\n", "d\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := edit{"f", tt.old, tt.new}.apply(text)
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestFailed_CountsOnlyAFailureOfTheTestItself(t *testing.T) {
	for out, want := range map[string]bool{
		"=== RUN   TestA\n--- FAIL: TestA (0.1s)\n":                    true,
		"=== RUN   TestA\n\npanic: test timed out after 1m\n":          true,
		"=== RUN   TestA\n\nfatal error: all goroutines are asleep\n":  true,
		"\npanic: before any test\n":                                   false,
		"=== RUN   TestA\n--- PASS: TestA (0.1s)\ngoleak: found one\n": false,
		"=== RUN   TestAB\n--- FAIL: TestAB (0.1s)\n":                  false,
		"testing: warning: no tests to run\n":                          false,
	} {
		if got := failed(out, "TestA"); got != want {
			t.Errorf("failed(%q) = %t", out, got)
		}
	}
}

func TestParse_RefusesAListThatIsWrong(t *testing.T) {
	const good = "intro\n\n== Heading\n\nfault one\nabout it\nfile f.go\n-a\n+b\ntest ./p TestX\n"
	all, err := parse(good)
	if err != nil || len(all) != 1 || all[0].edits[0] != (edit{"f.go", "a\n", "b\n"}) || all[0].tests[0] != (test{"./p", "TestX"}) {
		t.Errorf("parse = %+v, %v", all, err)
	}
	for name, text := range map[string]string{
		"listed twice":             good + good,
		"no test":                  strings.Replace(good, "test ./p TestX\n", "", 1),
		"no change":                strings.Replace(good, "file f.go\n-a\n+b\n", "", 1),
		"changes nothing":          strings.Replace(good, "+b", "+a", 1),
		"a change before its file": strings.Replace(good, "file f.go\n", "", 1),
		"not a line of a fault":    good + "nonsense\n",
		"a package and a name":     strings.Replace(good, "./p TestX", "TestX", 1),
	} {
		if _, err := parse(text); err == nil {
			t.Errorf("%s: it is read", name)
		}
	}
}
