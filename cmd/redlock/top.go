package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/venta-hq/redlock/cluster"
)

type topCmd struct {
	Begin string `arg:"" optional:"" name:"PREFIX" help:"Show only keys with this prefix."`

	nodesFlag
	Prefix string        `default:"lock:" help:"The prefix of all keys on the nodes. Default \"${default}\"."`
	Every  time.Duration `default:"1s" placeholder:"D" help:"How often to refresh, at least 100ms. Default ${default}."`
}

func (topCmd) Help() string {
	return `Shows the nodes as redlock nodes does, and the locks as redlock ls does: those with the most waiters first, then the ` +
		`oldest. Ctrl-C or q ends it. On a narrow terminal the last line names the columns that are left out. Where the output is ` +
		`not a terminal, it prints the state once and exits.

Each refresh scans all nodes. ` + operatorRights + `

  redlock top
  redlock top order: --every 5s

Exit codes: 0 success; 2 bad flags, nodes or rights; without a terminal also 69 fewer nodes than a quorum are up and vote.`
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

// live repeatedly paints the picture on the terminal's alternate screen, so
// that the shell's text is shown again at the end.
func (r *topCmd) live(ctx context.Context, v *view) error {
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	defer quitOnKey(quit)()
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

// quitOnKey calls quit at Ctrl-C and q, and turns off the echo of typed text.
// restore restores the terminal.
func quitOnKey(quit func()) (restore func()) {
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

// frame returns the text that overwrites the screen with lines, cut to the
// terminal's size.
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
