package cluster

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/nodeset"
)

// Cluster is a set of independent nodes. All methods may be called concurrently.
// It belongs to one process: what it sends carries its process id.
type Cluster struct{ opened }

type opened = face.Of[nodeset.Set]

// Open connects to the nodes. It succeeds as soon as each was tried and a quorum
// is well; the others are down, logged, and probed until they recover.
//
// It fails at once with an error that matches [ErrConfig] if cfg is bad, or if so
// many nodes cannot be used that no quorum is left: a replica, a server listed
// under two addresses, a refused password, a certificate that does not verify,
// each named. It fails with a [*QuorumError] if no quorum answered before ctx's
// deadline; without a deadline, within eight times Config.NodeTimeout.
//
// ctx bounds the opening only. The caller must Close the Cluster.
func Open(ctx context.Context, cfg Config) (*Cluster, error) {
	set, err := nodeset.Open(ctx, nodeset.Config(cfg))
	if err != nil {
		return nil, err
	}
	return &Cluster{face.Make(set)}, nil
}

// set is nil for a Cluster that could not be opened.
func (c *Cluster) set() *nodeset.Set { return face.In(c) }

// Close stops new operations, waits until every command that was sent has its
// answer, and then closes all connections. Locks that are still held stay on the
// nodes until their TTL; close what holds them first. So do those whose release is
// pending for a node that is down or refuses it. It may be called again; every
// call waits. ctx bounds only the waiting: the closing goes on.
func (c *Cluster) Close(ctx context.Context) error { return c.set().Close(ctx) }

// Quorum returns how many nodes must agree: Config.Quorum.
func (c *Cluster) Quorum() int { return c.set().Quorum() }

// Status reports the state of each node, in the order of Config, without asking
// them anything.
func (c *Cluster) Status() []Status { return c.set().Status() }

// Health reports whether anything can be locked, without asking the nodes.
// Nothing can be if too few of them are up and vote. Neither can it if every
// attempt to acquire a key has found no quorum, as where all nodes are out of
// memory; such attempts count for Config.MaxTTL after the last one. A single
// answer or renewal that is late changes nothing. Package health serves it over
// HTTP.
func (c *Cluster) Health() Health { return c.set().Health() }

// Survey asks every node that is not down for its state, all at once. A node that
// does not answer is down from then on, and takes at most two NodeTimeouts.
// Uptime and ClockOffset are as of now.
func (c *Cluster) Survey(ctx context.Context) []Report { return c.set().Survey(ctx) }

// Check asks every node what could make locks on it unsafe: how it is reached,
// its role, eviction policy, persistence, clock, version, restarts. It returns
// the findings of the set, then those of each node in order; an empty list is good
// news. It changes nothing, and takes at most a few NodeTimeouts.
func (c *Cluster) Check(ctx context.Context) []Finding { return c.set().Check(ctx) }

// Format prints the names of the nodes without their credentials, whatever the
// verb.
func (c *Cluster) Format(f fmt.State, _ rune) { io.WriteString(f, c.set().String()) }

// LogValue is what Format prints, for package slog.
func (c *Cluster) LogValue() slog.Value { return slog.StringValue(c.set().String()) }

// Unusable reports whether err says of a node that it cannot be used until the
// server, its URL, or the list of nodes is fixed.
func Unusable(err error) bool { return nodeset.Unusable(err) }

// Quorum returns the number of nodes, of n, whose agreement decides unless
// Config.Quorum says otherwise: a strict majority. Any two quorums share a node.
func Quorum(n int) int { return nodeset.Quorum(n) }
