package main

import (
	"go/ast"
	goparser "go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Tests that need a terminal are skipped in all stages but one, which finds them by their names.
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
