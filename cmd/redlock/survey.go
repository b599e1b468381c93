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

type nodesCmd struct {
	viewFlags
	RepairFences *string `placeholder:"PREFIX" help:"Find fence counters beyond the clock, of all keys that begin with PREFIX on the nodes, as \"lock:\", and set them to the clock. Says what that means, and asks."`
	Yes          bool    `short:"y" help:"With --repair-fences: do not ask."`
}

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
  redlock nodes --repair-fences lock:

A node whose clock once was far ahead, or on which somebody wrote, can have fence counters beyond the clock. Its grants of those ` +
		`keys do not count, and where most nodes are so, the keys cannot be locked. redlock doctor finds them.

Exit codes: 0 locks can be acquired, or the counters are set, 1 not confirmed or not set, 2 bad flags or nodes, 69 fewer nodes than a quorum are up and vote.`
}

func (r *nodesCmd) Run() error {
	switch {
	case r.RepairFences == nil && r.Yes:
		return misused("--yes: nothing is asked without --repair-fences")
	case r.RepairFences != nil && *r.RepairFences == "":
		return misused("--repair-fences: is empty; give what the keys begin with on the nodes, as lock:")
	case r.RepairFences != nil && r.Output == "json":
		return misused("--output json: --repair-fences prints for a person")
	case r.RepairFences != nil:
		return r.look("", r.repairFences)
	}
	return r.look("", func(ctx context.Context, v *view) error {
		reports := v.c.Survey(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if r.Output == "json" {
			doc := surveyDoc{Quorum: v.c.Quorum(), strengthDoc: strengthOf(reports, v.c.Quorum()).doc()}
			for _, n := range reports {
				doc.Nodes = append(doc.Nodes, describeNode(n))
			}
			if err := printJSON(doc); err != nil {
				return err
			}
		} else {
			printNodes(stdout, reports, v.c.Quorum())
		}
		return strengthOf(reports, v.c.Quorum()).err()
	})
}

// strength is how many of a set's nodes are up and vote.
type strength struct {
	nodes, quorum int
	up, voting    int
	in            time.Duration // until a quorum votes, if what is up stays up; 0 if one does, negative if too few nodes are up
}

func strengthOf(reports []cluster.Report, quorum int) strength {
	var all []cluster.Status
	for _, r := range reports {
		all = append(all, r.Status)
	}
	return strengthNow(all, quorum)
}

func strengthNow(all []cluster.Status, quorum int) strength {
	s := strength{nodes: len(all), quorum: quorum, in: -1}
	var waits []time.Duration
	for _, n := range all {
		if !n.Up {
			continue
		}
		s.up++
		if n.Votes {
			s.voting++
		}
		waits = append(waits, max(n.VotesIn, 0))
	}
	if slices.Sort(waits); s.up >= quorum {
		s.in = waits[quorum-1]
	}
	return s
}

// err is the error of a set on which nothing can be locked. What is wrong was printed before.
func (s strength) err() error {
	if s.voting >= s.quorum {
		return nil
	}
	return failed(exitNoQuorum, nil)
}

// text says in a sentence whether locks can be acquired.
func (s strength) text() string {
	head := fmt.Sprintf("%d of %s up; a quorum is %d", s.up, plural(s.nodes, "node is", "nodes are"), s.quorum)
	switch {
	case s.up < s.quorum:
		return head + ", so no lock can be acquired."
	case s.voting < s.quorum:
		return head + fmt.Sprintf(". Only %d can vote, so no lock can be acquired for %s.", s.voting, span(s.in))
	}
	return head + "."
}

// strengthDoc is the JSON of a strength.
type strengthDoc struct {
	Up       int      `json:"up"`
	Voting   int      `json:"voting"`
	QuorumIn *float64 `json:"quorum_in_ms"` // null: too few nodes are up
}

func (s strength) doc() strengthDoc {
	d := strengthDoc{Up: s.up, Voting: s.voting}
	if s.in >= 0 {
		in := ms(s.in)
		d.QuorumIn = &in
	}
	return d
}

type surveyDoc struct {
	Quorum int `json:"quorum"`
	strengthDoc
	Nodes []nodeDoc `json:"nodes"`
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
	fmt.Fprintln(w, strengthOf(reports, quorum).text())
	printTroubles(w, troublesOf(reports))
}

func troublesOf(reports []cluster.Report) (all []trouble) {
	for _, n := range reports {
		if !n.Up && n.Err != nil {
			all = append(all, troubleOf(n.Status))
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
	case refuses(n.Err):
		return "refuses"
	case unusable(n.Err):
		return "unusable"
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
