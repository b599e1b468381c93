package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/test/machine"
)

// bench is where faults are tried.
type bench struct {
	root    string // of the module
	scratch string // a directory for what is made
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	file := strings.TrimSpace(string(out))
	if err != nil || file == "" || file == os.DevNull {
		return "", errors.New("run it inside of the module")
	}
	return filepath.Dir(file), nil
}

// verdict is how the tests of a fault went.
type verdict struct {
	caught bool
	why    string // when it was not
	output string
	took   time.Duration
}

func (v verdict) line(m mutant) string {
	by := v.why
	if v.caught {
		names := make([]string, len(m.tests))
		for i, t := range m.tests {
			names[i] = t.pkg + " " + t.name
		}
		by = "caught by " + strings.Join(names, ", ")
	}
	return fmt.Sprintf("%-44s %5.1f s  %s", m.name, v.took.Seconds(), by)
}

// unharmed runs every named test on the code as it is.
func (b bench) unharmed(ctx context.Context, all []mutant, jobs int) error {
	byPkg := map[string][]string{}
	for _, m := range all {
		for _, t := range m.tests {
			if !slices.Contains(byPkg[t.pkg], t.name) {
				byPkg[t.pkg] = append(byPkg[t.pkg], t.name)
			}
		}
	}
	var pkgs []string
	for pkg := range byPkg {
		pkgs = append(pkgs, pkg)
	}
	slices.Sort(pkgs)
	errs := make([]error, len(pkgs))
	inParallel(len(pkgs), jobs, func(i int) { errs[i] = b.passes(ctx, pkgs[i], byPkg[pkgs[i]]) }, func(int) {})
	return errors.Join(errs...)
}

func (b bench) passes(ctx context.Context, pkg string, names []string) error {
	binary, err := b.build(ctx, "unharmed-"+slug(pkg), pkg, "")
	if err != nil {
		return err
	}
	out, err := b.execute(ctx, binary, pkg, names...)
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", pkg, err, out)
	}
	for _, name := range names {
		if !strings.Contains(out, "--- PASS: "+name+" (") {
			return fmt.Errorf("%s: there is no %s, or it is skipped\n%s", pkg, name, out)
		}
	}
	return nil
}

// try applies one fault and runs its tests. Every one of them has to fail.
func (b bench) try(ctx context.Context, m mutant) (v verdict) {
	began := time.Now()
	defer func() { v.took = time.Since(began) }()
	label := strings.ReplaceAll(m.name, " ", "-")
	overlay, err := b.overlay(label, m.edits)
	if err != nil {
		return verdict{why: err.Error()}
	}
	built := map[string]string{} // by package
	for _, t := range m.tests {
		if built[t.pkg] == "" {
			if built[t.pkg], err = b.build(ctx, label+"-"+slug(t.pkg), t.pkg, overlay); err != nil {
				return verdict{why: err.Error()}
			}
		}
		out, err := b.execute(ctx, built[t.pkg], t.pkg, t.name)
		v.output += out
		if err == nil || !failed(out, t.name) {
			v.why = fmt.Sprintf("SURVIVED %s %s (%v)", t.pkg, t.name, err)
			if strings.Contains(out, machine.Inconclusive) {
				v.why = fmt.Sprintf("%s %s was %s", t.pkg, t.name, machine.Inconclusive)
			}
			return v
		}
	}
	v.caught = true
	return v
}

// failed reports whether the test itself did, and not something around it. A panic, and a test that runs out of time, end
// the process without more.
func failed(out, name string) bool {
	return strings.Contains(out, "--- FAIL: "+name+" (") || strings.Contains(out, "=== RUN   "+name+"\n") &&
		(strings.Contains(out, "\npanic: ") || strings.Contains(out, "\nfatal error: "))
}

// overlay writes the changed files, and what tells the go command of them.
func (b bench) overlay(label string, edits []edit) (string, error) {
	changed := map[string]string{} // by file
	for _, e := range edits {
		text, ok := changed[e.file]
		if !ok {
			raw, err := os.ReadFile(filepath.Join(b.root, filepath.FromSlash(e.file)))
			if err != nil {
				return "", fmt.Errorf("stale: %w", err)
			}
			text = string(raw)
		}
		text, err := e.apply(text)
		if err != nil {
			return "", err
		}
		changed[e.file] = text
	}
	replace := map[string]string{}
	for file, text := range changed {
		copied := filepath.Join(b.scratch, label+"-"+strings.ReplaceAll(file, "/", "-"))
		if err := os.WriteFile(copied, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(b.root, filepath.FromSlash(file))] = copied
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	name := filepath.Join(b.scratch, label+".json")
	return name, os.WriteFile(name, data, 0o600)
}

// slug is a package as a part of a file name.
func slug(pkg string) string { return strings.ReplaceAll(path.Clean(pkg), "/", "-") }

// moduleOf is the directory of a package's module, below the root, and the
// package from there: modules beside the library test it too.
func (b bench) moduleOf(pkg string) (dir, from string) {
	pkg = path.Clean(pkg)
	for dir = pkg; dir != "."; dir = path.Dir(dir) {
		if _, err := os.Stat(filepath.Join(b.root, filepath.FromSlash(dir), "go.mod")); err == nil {
			return dir, "." + strings.TrimPrefix(pkg, dir)
		}
	}
	return ".", "./" + pkg
}

// build makes the test binary of a package, with an overlay if there is one.
func (b bench) build(ctx context.Context, label, pkg, overlay string) (string, error) {
	binary := filepath.Join(b.scratch, label+".test")
	// Inlining, and symbols for debuggers, would take most of the time.
	args := []string{"test", "-c", "-gcflags=all=-l -dwarf=false", "-ldflags=-s -w", "-o", binary}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	module, pkg := b.moduleOf(pkg)
	cmd := exec.CommandContext(ctx, "go", append(args, pkg)...)
	cmd.Dir = filepath.Join(b.root, filepath.FromSlash(module))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("does not compile: %w\n%s", err, out)
	}
	return binary, nil
}

// execute runs tests of a binary in the directory of their package.
func (b bench) execute(ctx context.Context, binary, pkg string, names ...string) (string, error) {
	cmd := exec.CommandContext(ctx, binary, "-test.v", "-test.failfast", "-test.timeout=1m", "-test.run=^("+strings.Join(names, "|")+")$")
	cmd.Dir = filepath.Join(b.root, filepath.FromSlash(pkg))
	cmd.Env = append(os.Environ(), "REDLOCK_TEST_BACKENDS=embedded")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
