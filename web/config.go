package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

// Config configures the nodes that the pages show, and who may release locks by
// force. Zero fields mean their defaults.
type Config struct {
	// Cluster lists the nodes. The handler opens its own connections, so pages
	// do not delay locks. It sets Partial, and ignores MeterProvider and
	// TracerProvider: it reports no metrics.
	Cluster cluster.Config

	// Prefix comes before every key on the nodes, like lock.Config.Prefix.
	// Default "lock:".
	Prefix string

	// Lockers are those of this program on the same nodes, with the same Prefix.
	// The pages show which keys they retain ([lock.Config.Retain]), which nodes
	// do not know. Default none.
	Lockers []*lock.Locker

	// Every is how often the nodes are asked while a page is open. A set with
	// many locks is listed less often: see "Load" in the package comment.
	// Default 2 s, at least 500 ms.
	Every time.Duration

	// Authorize reports whether a request may release locks by force, and who
	// sent it. The holder and the audit line show who: at most 128 bytes of
	// UTF-8 without control characters. Authorize is also called for each page
	// of a lock, to decide whether the page has a form, and must be safe for
	// concurrent use. Default nil: the pages are read-only.
	Authorize func(r *http.Request) (who string, ok bool)

	// Runbook returns the URL of the page that explains a finding, or "" for
	// none. Default: the section of this project's docs/oncall.md.
	Runbook func(f cluster.Finding) string

	// Logger receives one line for each release by force. Default
	// Cluster.Logger.
	Logger *slog.Logger
}

const (
	defaultEvery = 2 * time.Second
	leastEvery   = 500 * time.Millisecond
)

// onCall is the section of docs/oncall.md about a finding.
func onCall(f cluster.Finding) string {
	if f.Runbook == "" {
		return ""
	}
	return "https://github.com/venta-hq/redlock/blob/main/" + f.Runbook.Link()
}

// withDefaults is the configuration with its defaults filled in, or an error
// that matches cluster.ErrConfig.
func (cfg Config) withDefaults() (Config, error) {
	if cfg.Every == 0 {
		cfg.Every = defaultEvery
	}
	if cfg.Runbook == nil {
		cfg.Runbook = onCall
	}
	if cfg.Every < leastEvery {
		return cfg, errs.Errorf("%w: Config.Every: %v; at least %v", cluster.ErrConfig, cfg.Every, leastEvery)
	}
	if cfg.Logger == nil {
		cfg.Logger = cfg.Cluster.Logger
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	cfg.Cluster.Partial = true
	cfg.Cluster.MeterProvider, cfg.Cluster.TracerProvider = nil, nil
	return cfg, nil
}

// Open connects to the nodes and returns the handler. It succeeds however few
// nodes answer. The error matches [cluster.ErrConfig] if cfg cannot be used.
// The caller must Close the handler.
func Open(ctx context.Context, cfg Config) (*Handler, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c, err := cluster.Open(ctx, cfg.Cluster)
	if err != nil {
		return nil, err
	}
	src, err := newNodes(c, cfg)
	if err != nil {
		return nil, errors.Join(err, c.Close(ctx))
	}
	h := newHandler(cfg, src, face.In(c).Config().NodeTimeout)
	h.closeSource = src.close
	return h, nil
}

// source provides what the pages show.
type source interface {
	Quorum() int
	Status() []cluster.Status
	Survey(ctx context.Context) []cluster.Report
	Check(ctx context.Context) []cluster.Finding
	CheckFences(ctx context.Context) []cluster.Finding
	List(ctx context.Context, prefix string) ([]lock.Inspection, error)
	Inspect(ctx context.Context, key string) (lock.Inspection, error)
	Outcomes(ctx context.Context, prefix string) ([]lease.Outcome, error)
	Checkpoints(ctx context.Context) (keys []string, err error)
	CheckpointInfo(ctx context.Context, key string) (info lease.CheckpointInfo, ok bool, err error)
	ForceRelease(ctx context.Context, seen lock.Inspection, by string) (freeIn time.Duration, err error)
	ForceReleaseNow(ctx context.Context, seen lock.Inspection) error
}

// nodes is the source that asks real nodes.
type nodes struct {
	*cluster.Cluster
	*lock.Locker
	leases *lease.Leases
	own    []*lock.Locker // of this program
}

func newNodes(c *cluster.Cluster, cfg Config) (*nodes, error) {
	ttl := face.In(c).Config().MaxTTL // nothing is acquired here, but it must suit any NodeTimeout
	locker, err := lock.New(c, lock.Config{Prefix: cfg.Prefix, TTL: ttl})
	if err != nil {
		return nil, err
	}
	leases, err := lease.New(c, lease.Config{Prefix: cfg.Prefix, TTL: ttl})
	if err != nil {
		return nil, err
	}
	return &nodes{c, locker, leases, cfg.Lockers}, nil
}

// List is [lock.Locker.List], with what this program retains.
func (n *nodes) List(ctx context.Context, prefix string) ([]lock.Inspection, error) {
	all, err := n.Locker.List(ctx, prefix)
	return n.marked(all), err
}

// Inspect is [lock.Locker.Inspect], with what this program retains.
func (n *nodes) Inspect(ctx context.Context, key string) (lock.Inspection, error) {
	i, err := n.Locker.Inspect(ctx, key)
	return n.marked([]lock.Inspection{i})[0], err
}

// marked says of each whether this program retains the key.
func (n *nodes) marked(all []lock.Inspection) []lock.Inspection {
	for _, k := range n.own {
		if leases := face.In(k); leases != nil {
			leases.MarkRetained(all)
		}
	}
	return all
}

// CheckFences returns further findings of redlock doctor. It walks all keys of
// the nodes.
func (n *nodes) CheckFences(ctx context.Context) []cluster.Finding {
	return face.In(n.leases).Redlock().CheckFences(ctx)
}

func (n *nodes) Outcomes(ctx context.Context, prefix string) ([]lease.Outcome, error) {
	return n.leases.Outcomes(ctx, prefix)
}

// Checkpoints is the keys that have a checkpoint, or had one lately.
func (n *nodes) Checkpoints(ctx context.Context) ([]string, error) {
	keys, err := face.In(n.leases).Redlock().WithCompanion(ctx, "", "record")
	return slices.DeleteFunc(keys, func(key string) bool { return !ownRecord(key) }), err
}

func (n *nodes) CheckpointInfo(ctx context.Context, key string) (lease.CheckpointInfo, bool, error) {
	return n.leases.CheckpointInfo(ctx, key)
}

func (n *nodes) close(ctx context.Context) error {
	return errors.Join(n.Locker.Close(ctx), n.leases.Close(ctx), n.Cluster.Close(ctx))
}
