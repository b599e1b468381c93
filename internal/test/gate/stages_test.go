package main

import (
	"errors"
	"go/ast"
	goparser "go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Tests that need a terminal are skipped in all stages except one, which
// selects them by name.
func TestStages_RunEachTestThatNeedsATerminal(t *testing.T) {
	var filter *regexp.Regexp
	for _, s := range tiers["gate"] {
		if s.name != "command line in terminals" {
			continue
		}
		all, err := s.commands(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		filter = regexp.MustCompile(strings.TrimPrefix(all[0].args[0], "-run="))
	}
	files, err := filepath.Glob(filepath.FromSlash("../../../cmd/redlock/*_test.go"))
	if err != nil || filter == nil {
		t.Fatalf("%v, %v", filter, err)
	}
	found := 0
	for _, file := range files {
		parsed, err := goparser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(f.Name.Name, "Test") || !calls(f, "needTerminals", "newTmux") {
				continue
			}
			found++
			if !filter.MatchString(f.Name.Name) {
				t.Errorf("%s needs a terminal, and no stage runs it: %s does not match", f.Name.Name, filter)
			}
		}
	}
	if found == 0 {
		t.Error("no test needs a terminal")
	}
}

// calls reports whether f mentions one of these functions.
func calls(f *ast.FuncDecl, names ...string) (found bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		found = found || ok && slices.Contains(names, id.Name)
		return !found
	})
	return found
}

// A stage whose pattern selects nothing would pass without testing anything.
func TestStages_PatternsSelectTests(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	found := 0
	for tier, stages := range tiers {
		for _, s := range stages {
			all, err := s.commands(t.Context(), &gate{})
			if err != nil && !errors.As(err, new(leftOut)) && !errors.Is(err, errNoServers) {
				t.Fatal(err)
			}
			for _, c := range all {
				pattern := runPattern(c.args)
				if pattern == "" {
					continue
				}
				found++
				for _, folder := range c.packages {
					if !selects(t, filepath.Join(root, c.dir, folder), pattern) {
						t.Errorf("make %s, %s: -run=%s selects no test of %s", tier, s.name, pattern, folder)
					}
				}
			}
		}
	}
	if found == 0 {
		t.Error("no stage has a pattern")
	}
}

// runPattern returns the value of -run among the flags of go test, or "".
func runPattern(args []string) string {
	for _, arg := range args {
		if pattern, ok := strings.CutPrefix(arg, "-run="); ok {
			return pattern
		}
	}
	return ""
}

// selects reports whether a test in this folder has a name that matches.
func selects(t *testing.T, folder, pattern string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	test := regexp.MustCompile(`(?m)^func (Test\w*)\(`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range test.FindAllSubmatch(text, -1) {
			if regexp.MustCompile(pattern).Match(name[1]) {
				return true
			}
		}
	}
	return false
}
