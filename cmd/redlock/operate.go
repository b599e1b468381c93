package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lock"
)

// operateCommands are those for the person who looks after the locks.
type operateCommands struct {
	Ls         lsCmd         `cmd:"" help:"List the locks that are held."`
	Inspect    inspectCmd    `cmd:"" help:"Say how one lock stands, node by node."`
	Nodes      nodesCmd      `cmd:"" help:"Say how each node does."`
	Doctor     doctorCmd     `cmd:"" help:"Look for what makes locks on these nodes unsafe, and say how to fix it."`
	Once       onceCmd       `cmd:"" help:"List or forget jobs of run --once that are done."`
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

// look runs fn on the nodes, however few of them answer, until a signal comes. The prefix may be empty.
func (f viewFlags) look(prefix string, fn func(ctx context.Context, v *view) error) error {
	return f.open(prefix, true, fn)
}

// open is look; without partial, for a quorum of nodes, which are bootstrapped if they are new.
func (f viewFlags) open(prefix string, partial bool, fn func(ctx context.Context, v *view) error) error {
	cfg, err := f.config()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	cfg.Partial = partial
	c, err := openNodes(ctx, cfg, newLogger(true, false))
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

// trouble is a node that can not be asked.
type trouble struct {
	Node  string `json:"node"`
	Error string `json:"error"`

	answers bool // it can not be used, and is not silent
}

func troubleOf(s cluster.Status) trouble {
	return trouble{s.Node, problem(s.Err), unusable(s.Err)}
}

// refuses reports whether err is what a server said, so that it is there but can not be used.
func refuses(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// unusable reports whether err is no silence: the server is there.
func unusable(err error) bool { return refuses(err) || cluster.Unusable(err) }

// problem is the text of an error on one line, without what only a developer reads.
func problem(err error) string {
	if err == nil {
		return "not known"
	}
	text, _, _ := strings.Cut(err.Error(), "\nstack traceback")
	return shown(strings.TrimPrefix(text, "redlock: "))
}

func (t trouble) String() string {
	if t.answers {
		return fmt.Sprintf("node %s can not be used: %s", t.Node, t.Error)
	}
	return fmt.Sprintf("node %s does not answer: %s", t.Node, t.Error)
}

// troubles are the nodes that do not answer, or give errors.
func (v *view) troubles() []trouble {
	all := []trouble{}
	for _, s := range v.c.Status() {
		if !s.Up {
			all = append(all, troubleOf(s))
		}
	}
	return all
}

func printTroubles(w io.Writer, all []trouble) {
	for _, t := range all {
		fmt.Fprintln(w, t)
	}
}

// printJSON prints one document to standard output.
func printJSON(doc any) error {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(doc); err != nil {
		return err
	}
	return stdout.writeJSON(b.String())
}

// table prints rows under headings. Columns whose heading begins with ">" stand to the right.
func table(w io.Writer, head []string, rows [][]string) {
	right := make([]bool, len(head))
	titles := make([]string, len(head))
	for i, title := range head {
		titles[i], right[i] = strings.CutPrefix(title, ">")
	}
	width := columnWidths(head, rows)
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

// columnWidths are the widths of a table's columns.
func columnWidths(head []string, rows [][]string) []int {
	width := make([]int, len(head))
	for i, title := range head {
		width[i] = utf8.RuneCountInString(strings.TrimPrefix(title, ">"))
	}
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	return width
}

func tableWidth(head []string, rows [][]string) int {
	total := 2 * (len(head) - 1)
	for _, w := range columnWidths(head, rows) {
		total += w
	}
	return total
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

// ms is a duration in JSON.
func ms(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}
