package cluster

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/venta-hq/redlock/internal/nodeset"
)

// Config lists the nodes of a set and sets its limits. Zero fields mean their
// defaults. Exactly one of URLs and Clients is required.
type Config struct {
	// URLs lists the nodes, one URL each, in the forms that go-redis parses:
	//
	//	redis://[user:password@]host:port[/db]
	//	rediss://…                                       TLS
	//	unix://[user:password@]/path/to/socket[?db=1]
	//	redis://host:port?master_name=NAME&addr=host:port…   a master found through Sentinel
	//	redis://host:port?addr=host:port…                a Redis Cluster
	//
	// The nodes must be independent: none may be a replica of another. This
	// Config overrides timeouts, retries and client_name in a URL. A node that
	// fails over to an asynchronous replica (Sentinel, Redis Cluster) may lose
	// its newest grants: once a process has noticed the failover, the node does
	// not vote until a quarantine is over.
	URLs []string

	// Clients lists the nodes as clients, by name, for what a URL cannot
	// express: TLS certificates, credential providers, dialers. Each is a
	// *redis.Client, with or without Sentinel, or a *redis.ClusterClient. The
	// Cluster copies only their options and opens its own connections, because
	// retries and unbounded timeouts, which are right for data, are wrong for
	// locks. It overrides ClientName on connections to single servers, because
	// redlock resize identifies processes by it. The caller closes the clients.
	Clients map[string]redis.UniversalClient

	// MaxTTL is the longest TTL of a lock. A node that may have lost grants
	// does not vote until a quarantine is over. A quarantine is the sum of 1.25
	// times MaxTTL, 1 % of MaxTTL, and twice NodeTimeout. Default 60 s, at least
	// 1 s. All processes that use the same nodes must use the same MaxTTL.
	MaxTTL time.Duration

	// Quorum is how many nodes must agree. The default, a majority, is also the
	// minimum; the number of nodes is the maximum. A larger quorum tolerates
	// more nodes that lose a key unseen, and fewer that are down: with 5 nodes
	// and Quorum 4, a key has one holder even if any two nodes lose it, but
	// nothing can be locked while two are down. See "What a quorum tolerates"
	// in the package comment. The nodes refuse a process whose Quorum differs
	// from that of the set.
	Quorum int

	// NodeTimeout bounds each step of an exchange with a node: dial, write,
	// read. A node that exceeds it is down, and is not asked until a probe
	// reaches it. A large command (of packages cache and session, or with a
	// large record) marks a node as down only if a PING is not answered either,
	// or if several in a row are late. Default 250 ms, at least 1 ms, at most a
	// third of MaxTTL.
	NodeTimeout time.Duration

	// MaxQueued bounds the commands that wait for one node, separately for each
	// kind: those of locks, those that yield to locks (of packages cache and
	// session), and large ones. Further commands fail at once and are not sent.
	// Default 65,536, at least 64.
	MaxQueued int

	// Partial lets [Open] succeed after it has tried each node once, even without a
	// quorum, for tools that inspect the nodes. Operations that need a quorum still
	// fail without one, and a new set is not bootstrapped.
	Partial bool

	// Logger receives the events that an operator must know: a node that is
	// down or has recovered, a restart, a missing quorum, a wrong clock, a lost
	// lock. At most five lines of each kind are logged within ten seconds,
	// followed by the number of suppressed ones. A slow handler delays only log
	// lines. Default slog.Default().
	Logger *slog.Logger

	// MeterProvider and TracerProvider receive the metrics and spans of this
	// Cluster and of what is built on it, which docs/observability.md lists.
	// They are called while locks are acquired and must not block. Default nil:
	// nothing is reported, and reporting costs no more than a comparison. To
	// use the global ones, set otel.GetMeterProvider() and
	// otel.GetTracerProvider().
	MeterProvider  metric.MeterProvider
	TracerProvider trace.TracerProvider

	// KeyAttribute maps the key of a lock to the attribute redlock.key of its metrics
	// and spans; "" leaves the attribute out. It must return few distinct values,
	// such as "order" for "order:42". It also maps the names of jobs and elections,
	// as RunOnce and Campaign take them, to redlock.job and redlock.election.
	// Default nil: none of them is exported.
	KeyAttribute func(key string) string
}

// Format prints the names of the nodes without their credentials, whatever the
// verb.
func (cfg Config) Format(f fmt.State, _ rune) { io.WriteString(f, nodeset.Config(cfg).String()) }

// LogValue returns what Format prints, for package slog.
func (cfg Config) LogValue() slog.Value { return slog.StringValue(nodeset.Config(cfg).String()) }
