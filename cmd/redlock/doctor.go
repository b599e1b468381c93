package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/quorumlock"
)

type doctorCmd struct {
	viewFlags
	Prefix string `default:"lock:" help:"The prefix of all keys on the nodes, whose fence counters are checked. Default \"${default}\"."`
}

func (doctorCmd) Help() string {
	return `Asks every node what could make locks on it unsafe: its role, eviction policy, persistence, clock, version, restarts, fence counters, and whether it is one server. ` +
		`It changes nothing except the mark that every node has. Each finding is a

  danger   it can lose a lock, or does not go away by itself, such as a refused password
  warning  it costs availability, or may soon cost a lock
  note     good to know

each with what to do about it.

  redlock doctor || page-somebody

Exit codes: 0 no danger and locks can be acquired, 1 danger, 2 bad flags or nodes, 69 no danger, but fewer nodes than a quorum are up and vote.`
}

func (r *doctorCmd) Run() error {
	return r.look("", func(ctx context.Context, v *view) error {
		found := v.c.Check(ctx)
		if red, err := quorumlock.NewRedlock(face.In(v.c), quorumlock.Config{Prefix: r.Prefix}); err == nil {
			found = append(found, red.CheckFences(ctx)...)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s := strengthNow(v.c.Status(), v.c.Quorum())
		slices.SortStableFunc(found, func(a, b cluster.Finding) int { return cmp.Compare(b.Severity, a.Severity) })
		if r.Output == "json" {
			if err := printJSON(describeFindings(found, s)); err != nil {
				return err
			}
		} else {
			printFindings(stdout, found, s)
		}
		if countSeverity(found, cluster.Danger) > 0 {
			return failed(exitFailure, nil)
		}
		return s.err()
	})
}

type diagnosis struct {
	strengthDoc
	Nodes    int          `json:"nodes"`
	Quorum   int          `json:"quorum"`
	Findings []findingDoc `json:"findings"`
}

type findingDoc struct {
	Severity string `json:"severity"`
	Node     string `json:"node,omitempty"` // "": the whole set
	Text     string `json:"text"`
	Fix      string `json:"fix"`
	Runbook  string `json:"runbook"` // file#anchor, from the root of the repository
}

func describeFindings(found []cluster.Finding, s strength) diagnosis {
	d := diagnosis{strengthDoc: s.doc(), Nodes: s.nodes, Quorum: s.quorum, Findings: []findingDoc{}}
	for _, f := range found {
		d.Findings = append(d.Findings, findingDoc{f.Severity.String(), f.Node, f.Text, f.Fix, f.Runbook.Link()})
	}
	return d
}

func countSeverity(found []cluster.Finding, s cluster.Severity) (n int) {
	for _, f := range found {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// printFindings prints the findings. It prints a finding that several nodes
// share only once.
func printFindings(w io.Writer, found []cluster.Finding, s strength) {
	paint := newPrinter().paint
	looks := map[cluster.Severity]style{cluster.Danger: broken, cluster.Warning: fault, cluster.Note: quiet}
	type kind struct {
		s         cluster.Severity
		text, fix string
		runbook   cluster.Runbook
	}
	where, order := map[kind][]string{}, []kind{}
	for _, f := range found {
		k := kind{f.Severity, f.Text, f.Fix, f.Runbook}
		if where[k] == nil {
			order = append(order, k)
		}
		where[k] = append(where[k], f.Node)
	}
	for _, k := range order {
		fmt.Fprintf(w, "%s  %s\n", paint(looks[k.s], fmt.Sprintf("%-7s", k.s)), nodesText(where[k]))
		fmt.Fprintf(w, "         %s\n", shown(k.text))
		fmt.Fprintf(w, "         fix: %s\n", shown(k.fix))
		if k.runbook != "" {
			fmt.Fprintf(w, "         see: %s\n", k.runbook.Link())
		}
		fmt.Fprintln(w)
	}
	dangers := countSeverity(found, cluster.Danger)
	verdict, look := verdictOf(dangers, countSeverity(found, cluster.Warning))
	switch {
	case s.voting < s.quorum && dangers > 0:
		verdict += " " + s.text()
	case s.voting < s.quorum:
		verdict, look = s.text(), broken
	}
	fmt.Fprintf(w, "%s\n", paint(look, verdict))
}

// verdictOf summarizes the findings. It claims no more than their
// [cluster.Severity]: a password that one node refuses does not endanger locks
// on the other nodes.
func verdictOf(dangers, warnings int) (string, style) {
	switch {
	case dangers == 1:
		return "1 danger: it can lose locks, or does not go away by itself.", broken
	case dangers > 1:
		return fmt.Sprintf("%d dangers: each can lose locks, or does not go away by itself.", dangers), broken
	case warnings > 0:
		return plural(warnings, "warning", "warnings") + ", no danger.", fault
	}
	return "No danger and no warning.", fixed
}

// nodesText returns the subject of the text of a finding that several nodes
// share.
func nodesText(nodes []string) string {
	switch {
	case nodes[0] == "":
		return "the set"
	case len(nodes) == 1:
		return "node " + nodes[0]
	}
	return "each of the nodes " + strings.Join(nodes, ", ")
}
