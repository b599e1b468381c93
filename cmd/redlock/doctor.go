package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/venta-hq/redlock/cluster"
)

type doctorCmd struct{ viewFlags }

func (doctorCmd) Help() string {
	return `Asks every node what could make locks on it unsafe: its role, eviction policy, persistence, clock, version, restarts. ` +
		`It changes nothing, but for the mark that every node has. What it finds is

  danger   it can lose a lock, or keeps every program from opening these nodes
  warning  it costs availability, or comes near to costing a lock
  note     worth knowing

each with what to do about it.

  redlock doctor || page-somebody

Exit codes: 0 no danger, 1 danger, 2 bad flags or nodes, 69 no danger, but fewer nodes than a quorum are up.`
}

func (r *doctorCmd) Run() error {
	return r.look("", func(ctx context.Context, v *view) error {
		found := v.c.Check(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		up := len(v.c.Nodes()) - len(v.troubles())
		slices.SortStableFunc(found, func(a, b cluster.Finding) int { return cmp.Compare(b.Severity, a.Severity) })
		if r.Output == "json" {
			if err := printJSON(os.Stdout, describeFindings(found, up, v.c)); err != nil {
				return err
			}
		} else {
			printFindings(os.Stdout, found, up, v.c.Quorum())
		}
		switch {
		case count(found, cluster.Danger) > 0:
			return failed(exitFailure, nil)
		case up < v.c.Quorum():
			return failed(exitNoQuorum, nil)
		}
		return nil
	})
}

type diagnosis struct {
	Up       int          `json:"up"`
	Nodes    int          `json:"nodes"`
	Quorum   int          `json:"quorum"`
	Findings []findingDoc `json:"findings"`
}

type findingDoc struct {
	Severity string `json:"severity"`
	Node     string `json:"node,omitempty"` // none: the set as a whole
	Text     string `json:"text"`
	Mend     string `json:"mend"`
}

func describeFindings(found []cluster.Finding, up int, c *cluster.Cluster) diagnosis {
	d := diagnosis{Up: up, Nodes: len(c.Nodes()), Quorum: c.Quorum(), Findings: []findingDoc{}}
	for _, f := range found {
		d.Findings = append(d.Findings, findingDoc{f.Severity.String(), f.Node, f.Text, f.Mend})
	}
	return d
}

func count(found []cluster.Finding, s cluster.Severity) (n int) {
	for _, f := range found {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// printFindings says once what several nodes have in common.
func printFindings(w io.Writer, found []cluster.Finding, up, quorum int) {
	paint := painter().paint
	looks := map[cluster.Severity]style{cluster.Danger: broken, cluster.Warning: fault, cluster.Note: quiet}
	type kind struct {
		s          cluster.Severity
		text, mend string
	}
	where, order := map[kind][]string{}, []kind{}
	for _, f := range found {
		k := kind{f.Severity, f.Text, f.Mend}
		if where[k] == nil {
			order = append(order, k)
		}
		where[k] = append(where[k], f.Node)
	}
	for _, k := range order {
		fmt.Fprintf(w, "%s  %s\n", paint(looks[k.s], fmt.Sprintf("%-7s", k.s)), places(where[k]))
		fmt.Fprintf(w, "         %s\n", shown(k.text))
		fmt.Fprintf(w, "         mend: %s\n\n", k.mend)
	}
	dangers, warnings := count(found, cluster.Danger), count(found, cluster.Warning)
	switch {
	case up < quorum:
		fmt.Fprintf(w, "%s\n", paint(broken, fmt.Sprintf("Only %s up and %d are needed: no lock can be had.", plural(up, "node is", "nodes are"), quorum)))
	case dangers > 0:
		fmt.Fprintf(w, "%s\n", paint(broken, plural(dangers, "danger", "dangers")+": locks on these nodes are not safe."))
	case warnings > 0:
		fmt.Fprintf(w, "%s\n", paint(fault, plural(warnings, "warning", "warnings")+", and nothing that can lose locks."))
	default:
		fmt.Fprintf(w, "%s\n", paint(mended, "Nothing that can lose locks."))
	}
}

func places(nodes []string) string {
	switch {
	case nodes[0] == "":
		return "the set"
	case len(nodes) == 1:
		return "node " + nodes[0]
	}
	return "nodes " + strings.Join(nodes, ", ")
}
