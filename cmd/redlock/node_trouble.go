package main

import (
	"fmt"
	"io"

	"github.com/venta-hq/redlock/cluster"
)

// nodeTrouble is a node that cannot be used, with the reason.
type nodeTrouble struct {
	Node  string `json:"node"`
	Error string `json:"error"`

	answers bool // the server answers, but cannot be used
}

func newNodeTrouble(s cluster.Status) nodeTrouble {
	return nodeTrouble{s.Node, errorLine(s.Err), unusable(s.Err)}
}

func (t nodeTrouble) String() string {
	if t.answers {
		return fmt.Sprintf("node %s cannot be used: %s", t.Node, t.Error)
	}
	return fmt.Sprintf("node %s does not answer: %s", t.Node, t.Error)
}

// troubles returns the nodes that do not answer, or answer with errors.
func (v *view) troubles() []nodeTrouble {
	all := []nodeTrouble{}
	for _, s := range v.c.Status() {
		if !s.Up {
			all = append(all, newNodeTrouble(s))
		}
	}
	return all
}

func troublesOf(reports []cluster.Report) (all []nodeTrouble) {
	for _, n := range reports {
		if !n.Up && n.Err != nil {
			all = append(all, newNodeTrouble(n.Status))
		}
	}
	return all
}

func printTroubles(w io.Writer, all []nodeTrouble) {
	for _, t := range all {
		fmt.Fprintln(w, t)
	}
}
