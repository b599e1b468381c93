package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/venta-hq/redlock/cluster"
)

type nodesCmd struct{ viewFlags }

func (nodesCmd) Help() string {
	return `Prints a line for every node:

  LATENCY      a round trip, the fastest of three.
  APPEND-ONLY  when the node syncs its append-only file: always, everysec, no; none if it keeps none. Only "always" lets a
               node vote at once after a restart.
  EVICTION     what it does when its memory is full. Anything but noeviction can lose locks.
  CLOCK        its clock minus this machine's.
  VOTES        whether its grants count, or in how long they will, after a restart in which it may have forgotten some.

  redlock nodes
  redlock nodes -o json | jq '.nodes[] | select(.up | not)'

Exit codes: 0, 2 bad flags or nodes, 69 fewer nodes than a quorum are up.`
}

func (r *nodesCmd) Run() error {
	return r.look("", func(ctx context.Context, v *view) error {
		reports := v.c.Survey(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if r.Output == "json" {
			doc := surveyDoc{Quorum: v.c.Quorum()}
			for _, n := range reports {
				doc.Nodes = append(doc.Nodes, describeNode(n))
			}
			if err := printJSON(os.Stdout, doc); err != nil {
				return err
			}
		} else {
			printNodes(os.Stdout, reports, v.c.Quorum())
		}
		return shortOf(reports, v.c.Quorum())
	})
}

// shortOf is the error of a set without a quorum. The nodes were told of before.
func shortOf(reports []cluster.Report, quorum int) error {
	if countUp(reports) >= quorum {
		return nil
	}
	return failed(exitNoQuorum, nil)
}

func countUp(reports []cluster.Report) (up int) {
	for _, n := range reports {
		if n.Up {
			up++
		}
	}
	return up
}

// countVotes is how many nodes vote, and in how long a quorum will.
func countVotes(reports []cluster.Report, quorum int) (voting int, in time.Duration) {
	var waits []time.Duration
	for _, n := range reports {
		if n.Up {
			waits = append(waits, n.VotesIn)
			if n.Votes {
				voting++
			}
		}
	}
	slices.Sort(waits)
	if len(waits) >= quorum {
		in = waits[quorum-1]
	}
	return voting, in
}

type surveyDoc struct {
	Quorum int       `json:"quorum"`
	Nodes  []nodeDoc `json:"nodes"`
}

type nodeDoc struct {
	Node      string  `json:"node"`
	Up        bool    `json:"up"`
	Error     string  `json:"error,omitempty"`
	Votes     bool    `json:"votes"`
	VotesInMs float64 `json:"votes_in_ms"`
	LatencyMs float64 `json:"latency_ms"`
	Version   string  `json:"version"`
	UptimeS   int64   `json:"uptime_s"`
	Persists  string  `json:"append_only"`
	Eviction  string  `json:"eviction"`
	ClockMs   float64 `json:"clock_offset_ms"`
}

func describeNode(n cluster.Report) nodeDoc {
	d := nodeDoc{Node: n.Node, Up: n.Up, Votes: n.Votes, VotesInMs: ms(n.VotesIn), LatencyMs: ms(n.Latency), Version: n.Version,
		UptimeS: int64(n.Uptime / time.Second), Persists: n.Persistence, Eviction: n.Eviction, ClockMs: ms(n.ClockOffset)}
	if n.Err != nil {
		d.Error = n.Err.Error()
	}
	return d
}

func printNodes(w io.Writer, reports []cluster.Report, quorum int) {
	table(w, nodeColumns, nodeRows(reports))
	fmt.Fprintln(w)
	up := countUp(reports)
	fmt.Fprintf(w, "%d of %s up; a quorum is %d", up, plural(len(reports), "node is", "nodes are"), quorum)
	switch voting, in := countVotes(reports, quorum); {
	case up < quorum:
		fmt.Fprint(w, ", so no lock can be had")
	case voting < quorum:
		fmt.Fprintf(w, ". Only %s, so a program that starts now gets no lock for %s", plural(voting, "votes", "vote"), span(in))
	}
	fmt.Fprintln(w, ".")
	printTroubles(w, troublesOf(reports))
}

func troublesOf(reports []cluster.Report) (all []trouble) {
	for _, n := range reports {
		if !n.Up && n.Err != nil {
			all = append(all, trouble{n.Node, shown(n.Err.Error())})
		}
	}
	return all
}

var nodeColumns = []string{"NODE", "STATE", ">LATENCY", "VERSION", ">UPTIME", "APPEND-ONLY", "EVICTION", ">CLOCK", "VOTES"}

func nodeRows(reports []cluster.Report) [][]string {
	var rows [][]string
	for _, n := range reports {
		if !n.Up {
			rows = append(rows, []string{n.Node, state(n), "-", "-", "-", "-", "-", "-", "-"})
			continue
		}
		votes := "yes"
		if !n.Votes {
			votes = "in " + span(n.VotesIn)
		}
		rows = append(rows, []string{n.Node, state(n), brief(n.Latency), known(n.Version), span(n.Uptime), known(n.Persistence),
			known(n.Eviction), clock(n.ClockOffset), votes})
	}
	return rows
}

// state is a word for how a node does.
func state(n cluster.Report) string {
	switch {
	case n.Up:
		return "up"
	case errors.Is(n.Err, os.ErrDeadlineExceeded) || errors.Is(n.Err, context.DeadlineExceeded):
		return "silent"
	}
	return "down"
}

func known(s string) string {
	if s == "" {
		return "not told"
	}
	return shown(s)
}

func clock(d time.Duration) string {
	return fmt.Sprintf("%+.1fms", float64(d)/float64(time.Millisecond))
}
