package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lock"
)

// operateCommands are those for the person who looks after the locks.
type operateCommands struct {
	Ls         lsCmd         `cmd:"" help:"List the locks that are held."`
	Inspect    inspectCmd    `cmd:"" help:"Say how one lock stands, node by node."`
	Nodes      nodesCmd      `cmd:"" help:"Say how each node does."`
	Doctor     doctorCmd     `cmd:"" help:"Look for what makes locks on these nodes unsafe, and say how to mend it."`
	Release    releaseCmd    `cmd:"" help:"Take a lock away from its holder."`
	Top        topCmd        `cmd:"" help:"Watch the nodes and the locks."`
	Bench      benchCmd      `cmd:"" help:"Measure how fast these nodes give locks."`
	Completion completionCmd `cmd:"" help:"Print a completion script for a shell."`
}

// viewFlags are those of every command that looks at the nodes.
type viewFlags struct {
	nodesFlag
	Output string `short:"o" enum:"table,json" default:"table" placeholder:"FORMAT" help:"table or json. Default ${default}."`
}

// lockFlags are those of every command that looks at locks.
type lockFlags struct {
	viewFlags
	Prefix string `default:"lock:" help:"What comes before all keys on the nodes. Default \"${default}\"."`
}

const operatorRights = `The nodes' user needs the right +scan beside those of locks.`

// view is an opened set of nodes, however few of them answer.
type view struct {
	c      *cluster.Cluster
	locker *lock.Locker
}

// look runs fn on the nodes, until a signal comes. The prefix may be empty.
func (f viewFlags) look(prefix string, fn func(ctx context.Context, v *view) error) error {
	urls, err := f.urls()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c, err := cluster.Open(ctx, cluster.Config{URLs: urls, MaxTTL: maxTTL, NodeTimeout: nodeTimeout, Partial: true, Logger: newLogger(true, false)})
	if err != nil {
		return err
	}
	h := &held{c: c}
	defer h.close()
	locker, err := lock.New(c, lock.Config{Prefix: prefix})
	if err != nil {
		return err
	}
	h.keeper = locker
	err = fn(ctx, &view{c, locker})
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return failed(exitSignal+int(syscall.SIGINT), nil)
	}
	return err
}

// trouble is a node that does not answer.
type trouble struct {
	Node  string `json:"node"`
	Error string `json:"error"`
}

// troubles are the nodes that do not answer, or give errors.
func (v *view) troubles() []trouble {
	all := []trouble{}
	for _, s := range v.c.Status() {
		if !s.Up {
			all = append(all, trouble{s.Node, shown(s.Err.Error())})
		}
	}
	return all
}

func printTroubles(w io.Writer, all []trouble) {
	for _, t := range all {
		fmt.Fprintf(w, "node %s does not answer: %s\n", t.Node, t.Error)
	}
}

// printJSON prints one document.
func printJSON(w io.Writer, doc any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(doc)
}

// table prints rows under headings. Columns whose heading begins with ">" stand to the right.
func table(w io.Writer, head []string, rows [][]string) {
	right := make([]bool, len(head))
	width := make([]int, len(head))
	titles := make([]string, len(head))
	for i, title := range head {
		titles[i], right[i] = strings.CutPrefix(title, ">")
	}
	for _, row := range append([][]string{titles}, rows...) {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range append([][]string{titles}, rows...) {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if right[i] {
				line.WriteString(pad + cell + "  ")
			} else {
				line.WriteString(cell + pad + "  ")
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// shown is text that others wrote, for a terminal: what could act on it is escaped.
func shown(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return s
	}
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// short is shown, cut to n characters.
func short(s string, n int) string {
	s = shown(s)
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return s
}

// span is a duration as a person says it.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + span(-d)
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%02dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(n) + " " + many
}

// painter colours what it prints where the terminal can.
func painter() *narrator { return &narrator{w: os.Stdout, colour: colourful(os.Stdout)} }

// ms is a duration in JSON.
func ms(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}
