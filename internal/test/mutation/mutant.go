package main

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"
)

//go:embed mutants.txt
var listed string

// mutant is one deliberate fault.
type mutant struct {
	name  string
	about string // what goes wrong with it
	edits []edit
	tests []test
}

// edit replaces some whole lines of one file by others.
type edit struct {
	file     string // from the root of the module
	old, new string
}

// test is one that has to notice the fault.
type test struct{ pkg, name string }

// parse reads the list. Its errors name the line.
func parse(text string) ([]mutant, error) {
	var all []mutant
	var m *mutant
	for i, line := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
		bad := func(why string) ([]mutant, error) { return nil, fmt.Errorf("mutants.txt:%d: %s: %q", i+1, why, line) }
		name, begins := strings.CutPrefix(line, "fault ")
		switch {
		case begins:
			all = append(all, mutant{name: name})
			m = &all[len(all)-1]
			continue
		case strings.HasPrefix(line, "== "): // a heading
			m = nil
			continue
		case line == "" || m == nil: // between faults, or the introduction
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		switch mark := line[0]; {
		case word == "about":
			m.about = rest
		case word == "file":
			m.edits = append(m.edits, edit{file: rest})
		case word == "test":
			pkg, name, ok := strings.Cut(rest, " ")
			if !ok {
				return bad("a test is a package and a name")
			}
			m.tests = append(m.tests, test{pkg, name})
		case mark == ' ' || mark == '-' || mark == '+':
			if len(m.edits) == 0 {
				return bad("a change before its file")
			}
			m.edits[len(m.edits)-1].add(mark, line[1:])
		default:
			return bad("not a line of a fault")
		}
	}
	return all, check(all)
}

func (e *edit) add(mark byte, line string) {
	if mark != '+' {
		e.old += line + "\n"
	}
	if mark != '-' {
		e.new += line + "\n"
	}
}

func check(all []mutant) error {
	var errs []error
	seen := map[string]bool{}
	for _, m := range all {
		switch {
		case seen[m.name]:
			errs = append(errs, fmt.Errorf("%s: listed twice", m.name))
		case m.about == "" || len(m.edits) == 0 || len(m.tests) == 0:
			errs = append(errs, fmt.Errorf("%s: it has no about, no change or no test", m.name))
		}
		for _, e := range m.edits {
			if e.old == "" || e.old == e.new {
				errs = append(errs, fmt.Errorf("%s: the change of %s changes nothing", m.name, e.file))
			}
		}
		seen[m.name] = true
	}
	return errors.Join(errs...)
}

// apply makes the edit in a file's text. What is replaced has to stand there, as whole lines, exactly once.
func (e edit) apply(text string) (string, error) {
	text = "\n" + strings.ReplaceAll(text, "\r\n", "\n")
	if n := strings.Count(text, "\n"+e.old); n != 1 {
		return "", fmt.Errorf("stale: what it replaces is %d times in %s", n, e.file)
	}
	return strings.Replace(text, "\n"+e.old, "\n"+e.new, 1)[1:], nil
}
