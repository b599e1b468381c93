package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/test/machine"
)

// gate is one run of a tier.
type gate struct {
	root, logs string
	out        io.Writer
	began      time.Time
	meter      *machine.Meter
	raceFlag   []string

	results results
}

// run runs the stages until one fails and returns the exit status.
func (g *gate) run(ctx context.Context, stages []stage) int {
	if err := os.MkdirAll(g.logs, 0o755); err != nil {
		fmt.Fprintln(g.out, err)
		return 1
	}
	for _, s := range stages {
		if !g.stage(ctx, s) {
			g.summary(false)
			return 1
		}
	}
	g.summary(true)
	return 0
}

// stage runs the commands of one stage, prints its result, and reports whether
// it passed.
func (g *gate) stage(ctx context.Context, s stage) bool {
	began := time.Now()
	name := s.name
	if s.note != "" {
		name += " (" + s.note + ")"
	}
	fmt.Fprintf(g.out, "%s … ", name)
	log, err := os.Create(filepath.Join(g.logs, slug(s.name)+".log"))
	if err != nil {
		fmt.Fprintln(g.out, err)
		return false
	}
	defer log.Close()
	mine := results{}
	failure, err := g.stageTo(ctx, s, log, &mine)
	var none leftOut
	if errors.As(err, &none) {
		mine.skipped, err = append(mine.skipped, test{name: s.name, said: string(none)}), nil
	}
	g.results.add(mine)
	took := time.Since(began).Round(time.Second)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintf(g.out, "interrupted after %v\n", took)
	case err != nil:
		fmt.Fprintf(g.out, "FAILED, %v\n%s", took, failure)
		fmt.Fprintf(g.out, "The whole output is in %s (%v).\n", log.Name(), err)
	case none != "":
		fmt.Fprintf(g.out, "left out\n")
	case mine.passed > 0:
		fmt.Fprintf(g.out, "ok, %d tests, %v\n", mine.passed, took)
	default:
		fmt.Fprintf(g.out, "ok, %v\n", took)
	}
	return err == nil
}

// stageTo writes the output of a stage to log. With an error it also returns
// the text to print first.
func (g *gate) stageTo(ctx context.Context, s stage, log io.Writer, into *results) (failure string, err error) {
	all, err := s.commands(ctx, g)
	if err != nil {
		return "", err
	}
	for _, c := range all {
		if c.packages == nil {
			if failure, err = g.plain(ctx, c, log); err != nil {
				return failure, err
			}
			continue
		}
		r, err := g.goTest(ctx, c, log)
		if err == nil && len(r.inconclusive) > 0 {
			err = g.repeat(ctx, c, log, &r)
		}
		into.add(r)
		if err != nil && c.on != "" {
			return "on " + c.on + ":\n" + r.failure(), err
		}
		if err != nil {
			return r.failure(), err
		}
	}
	return "", nil
}

// plain runs a command that is not go test.
func (g *gate) plain(ctx context.Context, c command, log io.Writer) (failure string, err error) {
	fmt.Fprintf(log, "$ %s\n", strings.Join(c.args, " "))
	var out bytes.Buffer
	cmd := g.command(ctx, c, c.args)
	cmd.Stdout = io.MultiWriter(log, &out)
	cmd.Stderr = cmd.Stdout
	err = cmd.Run()
	if err == nil && c.quiet && out.Len() > 0 {
		err = fmt.Errorf("%s printed something", strings.Join(c.args, " "))
	}
	return lastLines(out.String(), shown), err
}

// goTest runs go test and reads its results.
func (g *gate) goTest(ctx context.Context, c command, log io.Writer) (r results, err error) {
	args := slices.Concat([]string{"go", "test", "-json"}, testFlags, c.args, c.packages)
	fmt.Fprintf(log, "$ %s\n", strings.Join(slices.Concat(c.env, args), " "))
	cmd := g.command(ctx, c, args)
	var faults bytes.Buffer
	cmd.Stderr = io.MultiWriter(log, &faults)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return r, err
	}
	if err := cmd.Start(); err != nil {
		return r, err
	}
	p := parser{results: &r, log: log, command: c}
	lines := bufio.NewReader(pipe)
	for {
		line, readErr := lines.ReadBytes('\n')
		p.line(line)
		if readErr != nil {
			break
		}
	}
	err = cmd.Wait()
	if err == nil && len(r.failed) > 0 {
		err = errors.New("go test exited with 0 although tests failed")
	}
	if err == nil && r.passed+len(r.skipped)+len(r.inconclusive) == 0 {
		err = errors.New("no test ran")
	}
	if err != nil && len(r.failed) == 0 {
		r.failed = append(r.failed, failedTest{output: strings.Split(lastLines(faults.String(), shown), "\n")})
	}
	return r, err
}

// repeat runs the inconclusive tests once more, by themselves. Tests that are
// inconclusive again, or that did not run, stay inconclusive.
func (g *gate) repeat(ctx context.Context, c command, log io.Writer, r *results) error {
	again := r.inconclusive
	r.inconclusive = nil
	for i, t := range again {
		alone := command{dir: c.dir, env: slices.Clone(c.env), packages: []string{t.pkg}}
		alone.args = append(slices.DeleteFunc(slices.Clone(c.args), isRun), "-run="+t.pattern())
		if seed := seedIn.FindStringSubmatch(t.name); seed != nil {
			alone.env = append(alone.env, "REDLOCK_CHAOS_SEED="+seed[1])
		}
		second, err := g.goTest(ctx, alone, log)
		if err == nil && !second.ended[t.pkg+" "+t.name] {
			second.passed = 0
			second.inconclusive = append(second.inconclusive, t)
		}
		r.add(second)
		if err != nil {
			r.inconclusive = append(r.inconclusive, again[i+1:]...)
			return err
		}
	}
	return nil
}

func isRun(arg string) bool { return strings.HasPrefix(arg, "-run=") }

// seedIn finds the seed in the name of a chaos test, whose rows are drawn from it.
var seedIn = regexp.MustCompile(`/seed=(\d+)/`)

// command returns a process that is interrupted together with its children when
// ctx ends, so that tests stop their servers.
func (g *gate) command(ctx context.Context, c command, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = filepath.Join(g.root, filepath.FromSlash(c.dir))
	cmd.Env = append(append(os.Environ(), compileFast()), c.env...)
	interruptGroup(cmd)
	cmd.WaitDelay = 20 * time.Second
	return cmd
}

// slug turns the name of a stage into a file name.
func slug(name string) string {
	first, _, _ := strings.Cut(name, ",")
	return strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(first), "-"), "-")
}

// lastLines returns the last lines of a text.
func lastLines(text string, most int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) > most {
		lines = lines[len(lines)-most:]
	}
	return strings.Join(lines, "\n") + "\n"
}
