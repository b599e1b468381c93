package nodeset

import (
	"cmp"
	"errors"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/venta-hq/redlock/internal/configerr"
)

// Config is the configuration of package cluster, where its fields are
// explained. The two convert into each other.
type Config struct {
	URLs           []string
	Clients        map[string]redis.UniversalClient
	MaxTTL         time.Duration
	Quorum         int
	NodeTimeout    time.Duration
	MaxQueued      int
	Partial        bool
	Logger         *slog.Logger
	MeterProvider  metric.MeterProvider
	TracerProvider trace.TracerProvider
	KeyAttribute   func(key string) string
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

// quarantine is how long a memory must have lasted before its node votes: until
// every lost grant has expired, including grants over connections to a server
// that the node's name no longer leads to.
func (cfg Config) quarantine() time.Duration {
	return cfg.MaxTTL + cfg.lifetime() + 2*cfg.NodeTimeout + Margin(cfg.MaxTTL)
}

// lifetime is how long a connection is used: after that, the name that it was
// made with may lead to another server.
func (cfg Config) lifetime() time.Duration { return cfg.MaxTTL / 4 }

// nodes is how many nodes are listed.
func (cfg Config) nodes() int { return len(cfg.URLs) + len(cfg.Clients) }

// validate reports every bad field of a configuration whose defaults are filled
// in.
func (cfg Config) validate() error {
	var errs []error
	bad := func(field, format string, args ...any) { errs = append(errs, configerr.Field(field, format, args...)) }
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
