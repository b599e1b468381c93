package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/venta-hq/redlock/cluster"
)

type nodesCmd struct {
	viewFlags
	RepairFences *string `placeholder:"PREFIX" help:"Find fence counters beyond the clock, of all keys that begin with PREFIX on the nodes, such as \"lock:\", and set them to the clock. Explains this, and asks."`
	Found        bool    `help:"Let restarted nodes vote at once, because no lock is held: after an outage of all nodes and all programs. Explains this, and asks."`
	Yes          bool    `short:"y" help:"With --repair-fences or --found: do not ask."`
}

func (nodesCmd) Help() string {
	return `Prints a line for every node:

  LATENCY      a round trip, the fastest of three.
  APPEND-ONLY  when the node syncs its append-only file: always, everysec or no; none if it has no such file. Only
               "always" lets a node vote at once after a restart.
  EVICTION     maxmemory-policy. Anything but noeviction can lose locks.
  CLOCK        its clock minus this machine's.
  VOTES        whether it votes or, after a restart in which it may have lost locks, when it will.
               "with a quorum": at once when enough others are up. "in no set yet": it is new.

  redlock nodes
  redlock nodes -o json | jq '.nodes[] | select(.up | not)'
  redlock nodes --repair-fences lock:
  redlock nodes --found

If the clock of a node was far ahead, or someone wrote to the node, it can have fence counters beyond the clock. Its grants of those ` +
		`keys do not count. If most nodes have such a counter, the key cannot be locked. redlock doctor finds them.

Exit codes: 0 locks can be acquired, the counters are set, or all nodes vote, 1 not confirmed, not set, or not all vote, 2 bad flags or nodes, 69 fewer nodes than a quorum are up and vote.`
}

func (r *nodesCmd) Run() error {
	switch {
	case r.RepairFences == nil && !r.Found && r.Yes:
		return misused("--yes: only with --repair-fences or --found")
	case r.RepairFences != nil && r.Found:
		return misused("--repair-fences, --found: give one of them")
	case r.Found && r.Output == "json":
		return misused("--output json: not with --found")
	case r.Found:
		return r.open("", false, r.found)
	case r.RepairFences != nil && *r.RepairFences == "":
		return misused("--repair-fences: is empty; give the prefix of the keys on the nodes, such as lock:")
	case r.RepairFences != nil && r.Output == "json":
		return misused("--output json: not with --repair-fences")
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

func printNodes(w io.Writer, reports []cluster.Report, quorum int) {
	table(w, nodeColumns, nodeRows(reports))
	fmt.Fprintln(w)
	fmt.Fprintln(w, strengthOf(reports, quorum).text())
	printTroubles(w, troublesOf(reports))
}

var nodeColumns = []string{"NODE", "STATE", ">LATENCY", "VERSION", ">UPTIME", "APPEND-ONLY", "EVICTION", ">CLOCK", "VOTES"}

func nodeRows(reports []cluster.Report) [][]string {
	var rows [][]string
	for _, n := range reports {
		if !n.Up {
			rows = append(rows, []string{n.Node, nodeState(n), "-", "-", "-", "-", "-", "-", "-"})
			continue
		}
		votes := "yes"
		switch {
		case n.Votes:
		case n.New:
			votes = "in no set yet"
		case n.VotesIn > 0:
			votes = "in " + span(n.VotesIn)
		default:
			votes = "with a quorum"
		}
		rows = append(rows, []string{n.Node, nodeState(n), brief(n.Latency), knownText(n.Version), span(n.Uptime), knownText(n.Persistence),
			knownText(n.Eviction), clockText(n.ClockOffset), votes})
	}
	return rows
}

func knownText(s string) string {
	if s == "" {
		return "not told"
	}
	return shown(s)
}

func clockText(d time.Duration) string {
	return fmt.Sprintf("%+.1fms", float64(d)/float64(time.Millisecond))
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
