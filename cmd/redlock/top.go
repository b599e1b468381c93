package main

import (
	"bytes"
	"cmp"
	"context"
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
		`oldest. Ctrl-C or q ends it. Where the output is not a terminal, it prints one picture and ends.

Each look scans all nodes. ` + operatorRights + `

  redlock top
  redlock top order: --every 5s

Exit codes: 0, 2 bad flags or nodes.`
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
		for _, line := range r.picture(ctx, v).lines(0) {
			fmt.Println(line.text)
		}
		return nil
	})
}

// live paints one picture over the other, on the terminal's other screen, so that what was there before comes back.
func (r *topCmd) live(ctx context.Context, v *view) error {
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	defer keys(quit)()
	fmt.Print("\x1b[?1049h\x1b[?25l")
	defer fmt.Print("\x1b[?25h\x1b[?1049l")
	paint := painter().paint
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
		os.Stdout.WriteString(frame(p.lines(height), width, paint))
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

// frame is lines, cut to the width, from the upper left corner on. What was there is overwritten.
func frame(lines []painted, width int, paint func(style, string) string) string {
	var b strings.Builder
	b.WriteString("\x1b[H")
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		text := []rune(line.text)
		b.WriteString(paint(line.style, string(text[:min(len(text), width)])) + "\x1b[K")
	}
	b.WriteString("\x1b[J")
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

// lines is the picture, at most height lines of it; 0: all.
func (p picture) lines(height int) []painted {
	waits := 0
	for _, i := range p.locks {
		waits += i.Waiting
	}
	up := countUp(p.nodes)
	all := []painted{{plain, fmt.Sprintf("redlock top  %s  %d of %s up, quorum %d  %s  %s", p.at.Format(time.TimeOnly), up,
		plural(len(p.nodes), "node", "nodes"), p.quorum, plural(len(p.locks), "lock", "locks"), plural(waits, "wait", "waits"))}}
	all = append(all, painted{})
	for i, text := range rows(nodeColumns, nodeRows(p.nodes)) {
		all = append(all, painted{p.nodeStyle(i - 1), text})
	}
	for _, t := range troublesOf(p.nodes) {
		all = append(all, painted{quiet, "node " + t.Node + ": " + t.Error})
	}
	all = append(all, painted{})
	if p.err != nil {
		return append(all, painted{broken, "no locks can be seen: " + shown(p.err.Error())})
	}
	for i, text := range rows(lockColumns, lockRows(p.locks, p.at)) {
		if height > 0 && len(all) == height-1 && len(p.locks) > i {
			return append(all, painted{quiet, fmt.Sprintf("… %s more", thousands(len(p.locks)-i+1))})
		}
		all = append(all, painted{p.lockStyle(i - 1), text})
	}
	return all
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
