//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/venta-hq/redlock/benchmarks/internal/turn"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

type flags struct {
	Base       *string       `placeholder:"REV" help:"Compare the working tree with this git revision instead of with other libraries."`
	Only       []string      `help:"Only the workloads whose names begin with one of these." placeholder:"NAME"`
	Duration   time.Duration `default:"3s" help:"How long a turn lasts. Default ${default}."`
	Rounds     int           `placeholder:"N" help:"How many turns each library has at each workload. Default 3; with --base 5."`
	FailSlower bool          `help:"With --base: exit with code 1 if a row is slower or costlier."`
	Write      string        `type:"existingdir" placeholder:"DIR" help:"Write performance.md and performance.svg there. Not with --base."`
}

func (f *flags) Validate() error {
	switch {
	case f.Duration < 100*time.Millisecond || f.Duration > time.Minute:
		return fmt.Errorf("--duration %v: from 100ms to 1m", f.Duration)
	case f.Rounds < 0 || f.Rounds > 99:
		return fmt.Errorf("--rounds %d: from 1 to 99", f.Rounds)
	case f.Base != nil && strings.TrimSpace(*f.Base) == "":
		return errors.New("--base is empty: name a commit, branch or tag, such as HEAD~1")
	case f.Base != nil && f.Write != "":
		return errors.New("--write cannot be combined with --base: performance.md compares libraries")
	case f.Base == nil && f.FailSlower:
		return errors.New("--fail-slower needs --base")
	case len(f.chosen()) == 0:
		return fmt.Errorf("--only %s: no workload begins with that; there are: %s", strings.Join(f.Only, ","), strings.Join(f.names(), ", "))
	}
	return nil
}

// rounds is the number of turns of each contender.
func (f *flags) rounds() int {
	switch {
	case f.Rounds > 0:
		return f.Rounds
	case f.Base != nil:
		return 5
	}
	return 3
}

// available are the workloads that can be chosen.
func (f *flags) available() []workload {
	return slices.DeleteFunc(slices.Clone(workloads), func(w workload) bool { return f.Base == nil && w.peers == nil })
}

func (f *flags) names() []string {
	var names []string
	for _, w := range f.available() {
		names = append(names, w.name)
	}
	return names
}

func (f *flags) chosen() []workload {
	return slices.DeleteFunc(f.available(), func(w workload) bool {
		if len(f.Only) == 0 {
			return f.Base != nil && !w.paired
		}
		return !slices.ContainsFunc(f.Only, func(prefix string) bool { return strings.HasPrefix(w.name, prefix) })
	})
}

// interrupted is the exit code of a program that SIGINT has ended.
const interrupted = 130

func main() {
	var f flags
	kong.Parse(&f, kong.Name("benchmarks"), kong.Description("Measures redlock on five redis-server processes that it starts: beside other lock libraries for Go, or beside another revision of itself."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := f.run(ctx, os.Stdout)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "benchmarks: interrupted")
		os.Exit(interrupted)
	case err != nil:
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

// run builds what is measured and measures it. It leaves nothing behind.
func (f *flags) run(ctx context.Context, out io.Writer) error {
	if _, err := redisserver.Available(); err != nil {
		return err
	}
	dir, remove, err := workshop()
	if err != nil {
		return err
	}
	defer remove()
	if f.Base != nil {
		p, err := buildPair(ctx, *f.Base, dir)
		if err != nil {
			return err
		}
		return f.compareRevisions(ctx, out, p)
	}
	tree, err := here()
	if err != nil {
		return err
	}
	driver := filepath.Join(dir, "driver")
	if err := buildDriver(ctx, module{dir: tree}, driver); err != nil {
		return err
	}
	return f.compareLibraries(ctx, out, driver)
}

// compareLibraries measures this module beside other libraries.
func (f *flags) compareLibraries(ctx context.Context, out io.Writer, driver string) error {
	var all []row
	var broken []string
	for _, w := range f.chosen() {
		rows, wrong := f.measure(ctx, w, driver)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		all = append(all, rows...)
		broken = append(broken, wrong...)
		printRows(out, w, rows)
	}
	if f.Write != "" {
		if err := write(f.Write, machine(), f, all); err != nil {
			return err
		}
	}
	if len(broken) > 0 {
		return fmt.Errorf("redlock failed or broke a promise %d times; the first: %s", len(broken), broken[0])
	}
	return nil
}

// row is one library at one workload.
type row struct {
	workload workload
	name     string
	figures
	broken int // holders that overlapped, tokens that did not grow
	err    error
}

// measure has all libraries take turns. It returns the faults of this module,
// and counts those of the others in their rows.
func (f *flags) measure(ctx context.Context, w workload, driver string) (rows []row, broken []string) {
	turns := map[string][]figures{}
	rows = make([]row, len(w.peers))
	for range f.rounds() {
		for i, name := range w.peers {
			r := &rows[i]
			r.workload, r.name = w, name
			if r.err != nil || ctx.Err() != nil {
				continue
			}
			s, err := take(ctx, w, contender{name, driver}, f.Duration)
			if err != nil {
				r.err = err
				continue
			}
			r.broken += len(disorder(s))
			if turn.Ours(name) {
				for _, text := range faults(s) {
					broken = append(broken, w.name+": "+text)
				}
			}
			figures, err := figuresOf(s)
			if err != nil {
				r.err = err
				continue
			}
			turns[name] = append(turns[name], figures)
		}
	}
	for i, name := range w.peers {
		switch {
		case rows[i].err == nil:
			rows[i].figures = middle(turns[name])
		case turn.Ours(name):
			broken = append(broken, w.name+": "+rows[i].err.Error())
		}
	}
	return rows, broken
}
