//go:build unix

package main

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// libraryPath is the module that is measured.
const libraryPath = "github.com/venta-hq/redlock"

// pair is the two revisions that are compared, as drivers.
type pair struct {
	base, next string    // for a person to read
	drivers    [2]string // paths
	note       string    // what a reader of the results must know, or ""
}

// buildPair builds a driver for the revision rev and one for the working tree,
// both below dir.
func buildPair(ctx context.Context, rev, dir string) (*pair, error) {
	tree, err := here()
	if err != nil {
		return nil, err
	}
	commit, err := resolve(ctx, rev)
	if err != nil {
		return nil, err
	}
	p := &pair{}
	if p.base, err = describe(ctx, commit); err != nil {
		return nil, err
	}
	p.base = rev + " = " + p.base
	if p.next, err = describeTree(ctx); err != nil {
		return nil, err
	}
	checkout := filepath.Join(dir, "base")
	if err := checkOut(ctx, commit, checkout); err != nil {
		return nil, fmt.Errorf("--base %s: %w", rev, err)
	}
	for i := range p.drivers {
		p.drivers[i] = filepath.Join(dir, []string{"driver-base", "driver-new"}[i])
	}
	if err := buildDriver(ctx, module{dir: tree}, p.drivers[1]); err != nil {
		return nil, fmt.Errorf("the driver does not compile against the %s: %w", p.next, err)
	}
	return p, p.buildBase(ctx, tree, checkout, dir)
}

// buildBase compiles the driver of the working tree against the library of the
// checkout, so that only the library differs. If that fails because the API has
// changed, it compiles the driver that the checkout has.
func (p *pair) buildBase(ctx context.Context, tree, checkout, dir string) error {
	m, err := against(ctx, tree, checkout, dir)
	if err != nil {
		return err
	}
	err = buildDriver(ctx, m, p.drivers[0])
	if err == nil || ctx.Err() != nil {
		return err
	}
	problem := fmt.Errorf("the driver of the %s does not compile against %s:\n%w", p.next, p.base, err)
	own := module{dir: filepath.Join(checkout, "benchmarks")}
	if _, err := os.Stat(filepath.Join(own.dir, "driver")); err != nil {
		return fmt.Errorf("%w\nand that revision has no driver of its own: compare with a newer one", problem)
	}
	if err := buildDriver(ctx, own, p.drivers[0]); err != nil {
		return fmt.Errorf("%w\nnor does the driver of that revision compile: compare with a newer one: %w", problem, err)
	}
	p.note = "base runs the driver of its own revision, because the current one does not compile against it"
	return nil
}

// against is the module at tree with the library at checkout. The requirements
// are those of the tree, so that both drivers have the same dependencies where
// the library's own go.mod allows it.
func against(ctx context.Context, tree, checkout, dir string) (module, error) {
	m := module{dir: tree, modFile: filepath.Join(dir, "base.mod")}
	mod, err := os.ReadFile(filepath.Join(tree, "go.mod"))
	if err != nil {
		return m, err
	}
	sums, err := os.ReadFile(filepath.Join(tree, "go.sum"))
	if err != nil {
		return m, err
	}
	older, err := os.ReadFile(filepath.Join(checkout, "go.sum"))
	if err != nil {
		return m, err
	}
	if err := cmp.Or(
		os.WriteFile(m.modFile, mod, 0o600),
		os.WriteFile(filepath.Join(dir, "base.sum"), append(sums, older...), 0o600),
	); err != nil {
		return m, err
	}
	_, err = run(ctx, "go", "mod", "edit", "-replace", libraryPath+"="+checkout, m.modFile)
	return m, err
}

// resolve finds the commit of a revision.
func resolve(ctx context.Context, rev string) (commit string, err error) {
	if _, err := exec.LookPath("git"); err != nil {
		return "", fmt.Errorf("--base needs git: %w: install it", err)
	}
	if _, err := run(ctx, "git", "rev-parse", "--git-dir"); err != nil {
		return "", fmt.Errorf("--base needs a git clone of the repository: %w", err)
	}
	out, err := run(ctx, "git", "rev-parse", "--quiet", "--verify", "--end-of-options", rev+"^{commit}")
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("--base %q is not a revision of this clone: use a commit, branch or tag that git log shows, or fetch it", rev)
	}
	return strings.TrimSpace(out), nil
}

// describe is the short hash and the subject of a commit.
func describe(ctx context.Context, commit string) (string, error) {
	out, err := run(ctx, "git", "log", "-1", "--format=%h (%s)", commit)
	return strings.TrimSpace(out), err
}

func describeTree(ctx context.Context) (string, error) {
	head, err := describe(ctx, "HEAD")
	if err != nil {
		return "", err
	}
	changes, err := run(ctx, "git", "status", "--porcelain")
	if changes != "" {
		return "working tree at " + head + " with uncommitted changes", err
	}
	return "working tree at " + head, err
}

// checkOut writes the files of a commit into dir. It uses git archive: unlike
// git worktree, that leaves no entry in the repository if the program is killed.
func checkOut(ctx context.Context, commit, dir string) error {
	root, err := run(ctx, "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return err
	}
	archive := dir + ".tar"
	if _, err := run(ctx, "git", "-C", strings.TrimSpace(root), "archive", "--format=tar", "--output="+archive, commit); err != nil {
		return err
	}
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	return unpack(file, dir)
}

// unpack writes the directories and regular files of an archive below dir.
func unpack(archive io.Reader, dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for r := tar.NewReader(archive); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = extract(root, h, r)
		}
		if err != nil {
			return fmt.Errorf("git archive: %w", err)
		}
	}
}

func extract(root *os.Root, h *tar.Header, content io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(filepath.Clean(h.Name), 0o700)
	case tar.TypeReg:
		if err := root.MkdirAll(filepath.Dir(h.Name), 0o700); err != nil {
			return err
		}
		text, err := io.ReadAll(content)
		if err != nil {
			return err
		}
		return root.WriteFile(h.Name, text, 0o600)
	}
	return nil // links and the comment with the commit: no Go package needs them
}

// trial is one workload of both revisions.
type trial struct {
	turns  [2][]figures // of the base and of the working tree
	faults []string     // failed operations, and promises that were broken
}

// try measures a workload in the order base, new, base, new, …, base.
func (p *pair) try(ctx context.Context, w workload, f *flags) (trial, error) {
	var t trial
	for i := range 2*f.rounds() + 1 {
		side := i % 2
		who := []string{"base", "new"}[side]
		s, err := take(ctx, w, contender{w.subject(), p.drivers[side]}, f.Duration)
		if err != nil {
			return t, fmt.Errorf("%s: %s: %w", w.name, who, err)
		}
		for _, text := range faults(s) {
			t.faults = append(t.faults, fmt.Sprintf("%s: %s: %s", w.name, who, text))
		}
		figures, err := figuresOf(s)
		if err != nil {
			return t, fmt.Errorf("%s: %s: %w", w.name, who, err)
		}
		t.turns[side] = append(t.turns[side], figures)
	}
	return t, nil
}

// line is one row of the report.
type line struct {
	metric
	comparison
}

// lines compares the two revisions by each metric that was measured.
func (t trial) lines(w workload) (all []line) {
	values := func(side int, m metric) []float64 {
		v := make([]float64, len(t.turns[side]))
		for i, f := range t.turns[side] {
			v[i] = m.of(f)
		}
		return v
	}
	for _, m := range metrics {
		if m.isRate && w.late {
			continue
		}
		if c, ok := compare(values(0, m), values(1, m)); ok {
			all = append(all, line{m, c})
		}
	}
	return all
}

// compareRevisions measures all chosen workloads and prints a table of each.
func (f *flags) compareRevisions(ctx context.Context, out io.Writer, p *pair) error {
	fmt.Fprintf(out, "base  %s\nnew   %s\non    %s\n", p.base, p.next, machine())
	if p.note != "" {
		fmt.Fprintf(out, "note  %s\n", p.note)
	}
	var bad, faults []string
	for _, w := range f.chosen() {
		t, err := p.try(ctx, w, f)
		if err != nil {
			return err
		}
		lines := t.lines(w)
		printLines(out, w, lines)
		faults = append(faults, t.faults...)
		bad = append(bad, worse(w, lines)...)
	}
	fmt.Fprintf(out, "\n%s.\n", rule)
	switch {
	case len(faults) > 0:
		return fmt.Errorf("%d operations failed or broke a promise; the first: %s", len(faults), faults[0])
	case f.FailSlower && len(bad) > 0:
		return fmt.Errorf("the new revision is slower or costlier: %s", strings.Join(bad, "; "))
	}
	return nil
}

// worse names the rows in which the new revision is slower or costlier.
func worse(w workload, lines []line) (rows []string) {
	for _, l := range lines {
		if v := l.verdict(l.comparison); v == slower || v == costlier {
			rows = append(rows, fmt.Sprintf("%s: %s %.3f × (%s)", w.name, l.name, l.ratio, v))
		}
	}
	return rows
}
