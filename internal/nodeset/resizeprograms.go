package nodeset

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
)

// connected is what is connected to the nodes of a resize.
type connected struct {
	programs map[program][]string // the nodes of each, by name
	unknown  map[string]int       // connections that do not say whose they are, by node
}

// programs asks the nodes that were met what is connected to them.
func (r *Resize) programs(ctx context.Context) (connected, error) {
	all := connected{map[program][]string{}, map[string]int{}}
	for _, n := range r.nodes {
		if n.err != nil {
			continue
		}
		var text string
		if text, n.err = n.clients(ctx, 4*r.cfg.NodeTimeout); n.err != nil {
			return connected{}, &NodeError{n.name, n.err}
		}
		for line := range strings.Lines(text) {
			all.add(nameOf(line), n.name)
		}
	}
	return all, nil
}

// clients asks the node for CLIENT LIST.
func (n *resizeTarget) clients(ctx context.Context, within time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	text, err := n.client.Do(ctx, "client", "list").Text()
	if saidBy(err, "NOPERM") {
		err = fmt.Errorf("does not report which programs have which list: %w; allow it to this user: ACL SETUSER name +client|list", err)
	}
	return text, err
}

// add takes in a connection of this name on a node.
func (c connected) add(name, node string) {
	switch p, ok := programOf(name); {
	case name == resizeName:
	case !ok:
		c.unknown[node]++
	case !slices.Contains(c.programs[p], node):
		c.programs[p] = append(c.programs[p], node)
	}
}

// with describes the programs whose list is of this size.
func (c connected) with(of record) (all []string) {
	for p, nodes := range c.programs {
		if p.nodes == len(of.members()) && p.quorum == of.quorum {
			all = append(all, fmt.Sprintf("  %s on %s", p, strings.Join(nodes, ", ")))
		}
	}
	slices.Sort(all)
	return all
}

// outlast returns an error if the locks of a program may outlast the waits of a
// resize, which are made for maxTTL.
func (c connected) outlast(maxTTL time.Duration) error {
	for p := range c.programs {
		if p.maxTTL > maxTTL {
			return configerr.Field("--max-ttl", "%v is less than the MaxTTL of %s, %v, so its locks may outlast the waits; give the largest that a program has",
				maxTTL, p, p.maxTTL)
		}
	}
	return nil
}

// untold says how many connections are of programs that cannot be told.
func (c connected) untold() string {
	if len(c.unknown) == 0 {
		return ""
	}
	var on []string
	for _, node := range slices.Sorted(maps.Keys(c.unknown)) {
		on = append(on, fmt.Sprintf("%d to %s", c.unknown[node], node))
	}
	return " It is unknown which programs these connections belong to, because they have no name: " + strings.Join(on, ", ") + ". See CLIENT LIST there: programs among them with the old list will be refused."
}
