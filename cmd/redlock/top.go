package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lock"
)

type topCmd struct {
	Begin string `arg:"" optional:"" name:"PREFIX" help:"Show only keys that begin so."`

	nodesFlag
	Prefix string        `default:"lock:" help:"What comes before all keys on the nodes. Default \"${default}\"."`
	Every  time.Duration `default:"1s" placeholder:"D" help:"How often to look, at least 100ms. Default ${default}."`
}

func (topCmd) Help() string {
	return `Shows the nodes as redlock nodes does, and the locks as redlock ls does: those first that the most wait for, then the ` +
		`oldest. Ctrl-C or q ends it. On a narrow terminal the last line names the columns that are left out. Where the output is ` +
		`not a terminal, it prints one picture and ends.

Each look scans all nodes. ` + operatorRights + `

  redlock top
  redlock top order: --every 5s

Exit codes: 0, 2 bad flags, nodes or rights; without a terminal also 69 fewer nodes than a quorum are up and vote.`
}

func (r *topCmd) Run() error {
	if r.Every < 100*time.Millisecond {
		return misused("--every %v: too often; at least 100ms", r.Every)
	}
	flags := viewFlags{nodesFlag: r.nodesFlag}
	return flags.look(r.Prefix, func(ctx context.Context, v *view) error {
		if term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("TERM") != "dumb" {
			return r.live(ctx, v)
		}
		p := r.picture(ctx, v)
		for _, line := range p.lines(0, 0) {
			fmt.Fprintln(stdout, line.text)
		}
		if err := listingError(p.err); err != nil && !errors.Is(err, cluster.ErrNoQuorum) {
			return failed(exitUsage, nil)
		}
		return strengthOf(p.nodes, p.quorum).err()
	})
}

// live paints one picture over the other, on the terminal's other screen, so that what was there before comes back.
func (r *topCmd) live(ctx context.Context, v *view) error {
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	defer keys(quit)()
	fmt.Fprint(stdout, control("[?1049h")+control("[?25l"))
	defer fmt.Fprint(stdout, control("[?25h")+control("[?1049l"))
	paint := newPrinter().paint
	again := time.NewTicker(r.Every)
	defer again.Stop()
	for {
		p := r.picture(ctx, v)
		if ctx.Err() != nil {
			return nil
		}
		width, height, err := term.GetSize(int(os.Stdout.Fd()))
		if err != nil {
			width, height = 80, 24
		}
		fmt.Fprint(stdout, frame(p.lines(width, height), width, height, paint))
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// keys has Ctrl-C and q call quit, and keeps what is typed off the screen. It returns what gives the terminal back.
func keys(quit func()) (restore func()) {
	fd := int(os.Stdin.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil { // no terminal
		return func() {}
	}
	go func() {
		for key := make([]byte, 1); ; {
			if n, err := os.Stdin.Read(key); err != nil || n == 1 && strings.IndexByte("qQ\x03", key[0]) >= 0 {
				quit()
				return
			}
		}
	}()
	return func() { _ = term.Restore(fd, before) }
}

// frame is lines, cut to the terminal, from the upper left corner on. What was there is overwritten.
func frame(lines []painted, width, height int, paint func(style, string) string) string {
	var b strings.Builder
	b.WriteString(control("[H"))
	for i, line := range lines[:min(len(lines), height)] {
		if i > 0 {
			b.WriteString(control("[E"))
		}
		b.WriteString(paint(line.style, cut(line.text, width)) + control("[K"))
	}
	b.WriteString(control("[J"))
	return b.String()
}

type painted struct {
	style style
	text  string
}

// picture is what was seen at one time.
type picture struct {
	at     time.Time
	quorum int
	every  time.Duration
	nodes  []cluster.Report
	locks  []lock.Inspection
	err    error // why there are no locks
}

func (r *topCmd) picture(ctx context.Context, v *view) picture {
	p := picture{quorum: v.c.Quorum(), every: r.Every}
	var wg sync.WaitGroup
	wg.Go(func() { p.nodes = v.c.Survey(ctx) })
	wg.Go(func() { p.locks, p.err = v.locker.List(ctx, r.Begin) })
	wg.Wait()
	p.at = time.Now()
	slices.SortStableFunc(p.locks, func(a, b lock.Inspection) int {
		return cmp.Or(cmp.Compare(b.Waiting, a.Waiting), cmp.Compare(unknownLast(a), unknownLast(b)))
	})
	return p
}

func unknownLast(i lock.Inspection) int64 {
	if i.Holder.Since.IsZero() {
		return 1 << 62
	}
	return i.Holder.Since.UnixMicro()
}

// lines is the picture for a terminal of this size, the last of them the help; 0, 0: all of it, without help.
func (p picture) lines(width, height int) []painted {
	waits := 0
	for _, i := range p.locks {
		waits += i.Waiting
	}
	s := strengthOf(p.nodes, p.quorum)
	all := []painted{{plain, fmt.Sprintf("redlock top  %d of %d nodes up, quorum %d  %s  %s  %s", s.up, s.nodes, p.quorum,
		plural(len(p.locks), "lock", "locks"), plural(waits, "wait", "waits"), p.at.Format(time.TimeOnly))}, {}}
	head, cells, hidden := fit(width, nodeColumns, nodeRows(p.nodes), "APPEND-ONLY", "EVICTION", ">CLOCK", "VERSION", ">UPTIME", ">LATENCY")
	for i, text := range rows(head, cells) {
		all = append(all, painted{p.nodeStyle(i - 1), text})
	}
	for _, t := range troublesOf(p.nodes) {
		all = append(all, painted{quiet, t.String()})
	}
	if s.voting < s.quorum {
		all = append(all, painted{broken, s.text()})
	}
	all = append(all, painted{})
	if err := listingError(p.err); err != nil {
		all = append(all, painted{broken, problem(err)})
	}
	if len(p.locks) > 0 || p.err == nil {
		head, cells, more := fit(width, lockColumns, lockRows(p.locks, p.at), ">TOKEN", ">LEFT", ">AGE", "NODES")
		hidden = append(hidden, more...)
		for i, text := range rows(head, cells) {
			if height > 0 && len(all) >= height-2 && len(p.locks) > i {
				all = append(all, painted{quiet, fmt.Sprintf("… %s more", thousands(len(p.locks)-i+1))})
				break
			}
			all = append(all, painted{p.lockStyle(i - 1), text})
		}
	}
	if height == 0 {
		return all
	}
	return append(all[:min(len(all), height-1)], painted{quiet, help(hidden)})
}

// help says which keys there are, and which columns the terminal has no room for.
func help(hidden []string) string {
	if len(hidden) == 0 {
		return "q quits"
	}
	return "q quits; no room for " + strings.Join(hidden, ", ")
}

// fit leaves columns out, in the order of spare, until a table is no wider than width, and then cuts its widest cells. 0: any
// width. It names what it left out.
func fit(width int, head []string, cells [][]string, spare ...string) ([]string, [][]string, []string) {
	var hidden []string
	for ; width > 0 && len(spare) > 0 && tableWidth(head, cells) > width; spare = spare[1:] {
		i := slices.Index(head, spare[0])
		head = slices.Delete(slices.Clone(head), i, i+1)
		for j, row := range cells {
			cells[j] = slices.Delete(row, i, i+1)
		}
		hidden = append(hidden, strings.TrimPrefix(spare[0], ">"))
	}
	for most := 60; width > 0 && most > 8 && tableWidth(head, cells) > width; most-- {
		for _, row := range cells {
			for i := range row {
				row[i] = cut(row[i], most)
			}
		}
	}
	return head, cells, hidden
}

// rows is table, line by line; the first is the heading.
func rows(head []string, cells [][]string) []string {
	var b bytes.Buffer
	table(&b, head, cells)
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func (p picture) nodeStyle(i int) style {
	switch {
	case i < 0:
		return quiet
	case !p.nodes[i].Up:
		return broken
	case !p.nodes[i].Votes:
		return fault
	}
	return plain
}

func (p picture) lockStyle(i int) style {
	switch {
	case i < 0:
		return quiet
	case p.locks[i].Waiting > 0:
		return fault
	}
	return plain
}
