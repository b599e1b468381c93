package cluster

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/nodeset"
)

// Cluster is a set of independent nodes. All methods may be called
// concurrently. One Cluster serves a whole process; it identifies itself to the
// nodes by an id of its own.
type Cluster struct{ opened }

type opened = face.Of[nodeset.Set]

// Open connects to the nodes. It succeeds as soon as it has tried each node and
// a quorum can be used. The others are down: they are logged, and probed until
// they recover.
//
// It fails at once with an error that matches [ErrConfig] if cfg cannot be
// used, or if so many nodes cannot be used that no quorum is left. The error
// names each such node: a replica, a server listed under two addresses, a
// refused password, a certificate that does not verify. It fails with a
// [*QuorumError] if no quorum answers before ctx's deadline or, without a
// deadline, within eight times [Config.NodeTimeout].
//
// ctx bounds only the opening. The caller must Close the Cluster.
func Open(ctx context.Context, cfg Config) (*Cluster, error) {
	set, err := nodeset.Open(ctx, nodeset.Config(cfg))
	if err != nil {
		return nil, err
	}
	return &Cluster{face.Make(set)}, nil
}

// set is nil for a Cluster that could not be opened.
func (c *Cluster) set() *nodeset.Set { return face.In(c) }

// Close stops new operations, waits for the answers to commands that were sent,
// and closes all connections. Locks that are still held stay on the nodes until
// their TTL, so close what holds them first. Releases that are pending for a
// node that is down, or that refuses them, are dropped: the key expires there.
// Close may be called again; every call waits. If ctx ends first, Close returns
// an error with ctx.Err() in its chain, and closing continues in the
// background.
func (c *Cluster) Close(ctx context.Context) error { return c.set().Close(ctx) }

// Quorum returns how many nodes must agree: [Config.Quorum].
func (c *Cluster) Quorum() int { return c.set().Quorum() }

// Status returns the state of each node, in the order of the [Config], without
// asking the nodes.
func (c *Cluster) Status() []Status { return c.set().Status() }

// Health reports whether anything can be locked, without asking the nodes.
// Nothing can be locked if too few nodes are up and vote, or if every recent
// attempt to acquire a key has found no quorum, as when all nodes are out of
// memory. An attempt is recent for [Config.MaxTTL]. A single late answer or
// renewal changes nothing. Package health serves the result over HTTP.
func (c *Cluster) Health() Health { return c.set().Health() }

// Survey asks every node that is not down for its state, all at the same time.
// It takes at most two NodeTimeouts; a node that does not answer by then is
// down. Uptime and ClockOffset are current.
func (c *Cluster) Survey(ctx context.Context) []Report { return c.set().Survey(ctx) }

// Check looks for anything that makes locks on the nodes unsafe: how a node is
// reached, its role, eviction policy, persistence, clock, version and restarts.
// It returns the findings about the set, then those about each node in order;
// it returns none if all is well. It changes nothing, and takes at most a few
// NodeTimeouts.
func (c *Cluster) Check(ctx context.Context) []Finding { return c.set().Check(ctx) }

// Format prints the names of the nodes without their credentials, whatever the
// verb.
func (c *Cluster) Format(f fmt.State, _ rune) { io.WriteString(f, c.set().String()) }

// LogValue returns what Format prints, for package slog.
func (c *Cluster) LogValue() slog.Value { return slog.StringValue(c.set().String()) }

// Unusable reports whether err means that a node cannot be used until the
// server, its URL, or the list of nodes is fixed.
func Unusable(err error) bool { return nodeset.Unusable(err) }

// Quorum returns the default quorum of n nodes, a strict majority. Any two
// majorities share a node.
func Quorum(n int) int { return nodeset.Quorum(n) }
