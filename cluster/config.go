package cluster

import (
	"cmp"
	"errors"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Config says which nodes make the set and how patient to be with them. Zero fields mean their defaults.
// Exactly one of URLs and Clients is needed.
type Config struct {
	// URLs names the nodes, one URL each, in the forms go-redis parses:
	//
	//	redis://[user:password@]host:port[/db]
	//	rediss://…                                       TLS
	//	unix://[user:password@]/path/to/socket[?db=1]
	//	redis://host:port?master_name=NAME&addr=host:port…   a master found through Sentinel
	//	redis://host:port?addr=host:port…                a Redis Cluster
	//
	// The nodes must be independent: none may be a replica of another. Timeouts and retries in a URL are overruled by
	// this Config. A node that fails over to an asynchronous replica (Sentinel, Redis Cluster) may forget its newest
	// grants. It does not vote for a quarantine once a process has seen the fail-over.
	URLs []string

	// Clients gives the nodes as ready clients by name, for what a URL cannot say (TLS certificates, credential
	// providers, dialers). A *redis.Client, a sentinel-backed one among them, and a *redis.ClusterClient can be used.
	// Only their options are taken: the Cluster opens connections of its own with them, because retries and unbounded
	// timeouts, which are right for data, are wrong for locks. The given clients stay the caller's to close.
	Clients map[string]redis.UniversalClient

	// MaxTTL is the longest TTL that may be asked for. A node that may have forgotten grants does not vote for a
	// quarantine: 1.25 times MaxTTL, 1 % of it, and twice NodeTimeout. Default 60 s, at least 1 s. All processes on the same nodes must have the same.
	MaxTTL time.Duration

	// Quorum is how many nodes must agree. Default a majority, which is also the least; at most the number of nodes. A
	// larger one tolerates more nodes that lose a key unseen, and fewer that are down: with 5 nodes and Quorum 4, a key
	// has one holder though any two nodes lose it, and nothing can be locked while two are down. See package cluster,
	// "What a quorum tolerates". A process whose Quorum is another than that of the set is refused by its nodes.
	Quorum int

	// NodeTimeout bounds each step of talking to a node: dial, write, read. A node that exceeds it is down until a
	// probe reaches it, and is not waited for meanwhile. A command that may only be late because it is large (those of
	// packages cache and session, and large records) takes a node down if a PING is not answered either, or if such
	// commands are late several times in a row. Default 250 ms, at least 1 ms, at most a third of MaxTTL.
	NodeTimeout time.Duration

	// MaxQueued bounds the commands that wait for one node: those of locks, those that yield to locks (of packages cache
	// and session), and large ones, each kind by itself. What comes above it fails at once, as unsent. Default 65,536, at
	// least 64.
	MaxQueued int

	// Partial lets Open succeed, after it has tried each node once, however few of them can be used: for tools that look at
	// the nodes. What needs a quorum fails without one as ever, and a set that is new stays new.
	Partial bool

	// Logger gets one line per event a person must know: a node down or back, a restart seen, no quorum, a clock that is
	// off, a lock lost. Of each kind it gets five within ten seconds at most, and then how many there were more; a slow
	// handler delays nothing but lines. Default slog.Default().
	Logger *slog.Logger

	// MeterProvider and TracerProvider are where this Cluster, and what is built on it, report to through OpenTelemetry;
	// docs/observability.md lists what. They are code that runs beside locks and must not block. Default: nil, nothing is
	// reported, and that costs a comparison. Programs that use the global ones give otel.GetMeterProvider() and
	// otel.GetTracerProvider().
	MeterProvider  metric.MeterProvider
	TracerProvider trace.TracerProvider

	// KeyAttribute makes an attribute, redlock.key, of the key of a lock, for all metrics and spans that speak of one; ""
	// leaves it out. There must be few of them, as "order" of "order:42". Default: nil, keys are told to nobody.
	KeyAttribute func(key string) string
}

// withDefaults fills in defaults on the copy it is given.
func (cfg Config) withDefaults() Config {
	cfg.Quorum = cmp.Or(cfg.Quorum, Quorum(cfg.nodes()))
	cfg.MaxTTL = cmp.Or(cfg.MaxTTL, 60*time.Second)
	cfg.NodeTimeout = cmp.Or(cfg.NodeTimeout, 250*time.Millisecond)
	cfg.MaxQueued = cmp.Or(cfg.MaxQueued, 65536)
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return cfg
}

// nodes is how many nodes are listed.
func (cfg Config) nodes() int { return len(cfg.URLs) + len(cfg.Clients) }

// validate reports everything that is wrong with a configuration whose defaults are filled in.
func (cfg Config) validate() error {
	var errs []error
	bad := func(field, format string, args ...any) { errs = append(errs, fieldError(field, format, args...)) }
	switch {
	case len(cfg.URLs) > 0 && len(cfg.Clients) > 0:
		bad("Config.URLs", "given together with Config.Clients; give one of them")
	case len(cfg.URLs) == 0 && len(cfg.Clients) == 0:
		bad("Config.URLs", "no nodes; name at least one, best 3, 5 or 7 independent ones")
	}
	if cfg.MaxTTL < time.Second {
		bad("Config.MaxTTL", "%v is too short; at least 1s", cfg.MaxTTL)
	}
	if n := cfg.nodes(); n > 0 && (cfg.Quorum < Quorum(n) || cfg.Quorum > n) {
		bad("Config.Quorum", "%d is out of range; of %d nodes from a majority, %d, to all, %d", cfg.Quorum, n, Quorum(n), n)
	}
	if cfg.NodeTimeout < time.Millisecond || cfg.NodeTimeout > cfg.MaxTTL/3 {
		bad("Config.NodeTimeout", "%v is out of range; from 1ms to a third of MaxTTL, %v", cfg.NodeTimeout, cfg.MaxTTL/3)
	}
	if cfg.MaxQueued < 64 {
		bad("Config.MaxQueued", "%d is too small; at least 64", cfg.MaxQueued)
	}
	return errors.Join(errs...)
}
