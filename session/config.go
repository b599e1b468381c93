package session

import (
	"cmp"
	"errors"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/exactjson"
	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/lock"
)

// Config configures the keys, lifetimes and encoding of sessions. Zero fields
// mean their defaults. All processes that use the same nodes should have the
// same Prefix, Idle and Lifetime.
type Config struct {
	// Prefix comes before every key on the nodes. Default "session:".
	Prefix string

	// Idle is how long a session lasts without being loaded. Default 2 h; from
	// 1 s to Lifetime. A load extends it only after an eighth of Idle has
	// passed, so a session may end up to that much earlier.
	Idle time.Duration

	// Lifetime is the longest that a session lasts after it was created or
	// renewed. Default 14 days; at most 400 days.
	Lifetime time.Duration

	// MaxSize is the size of the largest session, in bytes of its fields' names
	// and encoded values. Default 64 KiB; at most 16 MiB, and no more than can
	// be sent to a node within NodeTimeout. The names of deleted fields may
	// take as much again: nodes keep them until all nodes have answered a read
	// that found many, so they accumulate only while a node does not answer.
	MaxSize int

	// Codec encodes the values of fields. Default JSON with two differences. A
	// number that is decoded into an interface is a json.Number, because a
	// float64 would lose digits of large integers. A string that is not UTF-8
	// is an error, because JSON would change it; use a []byte for such data.
	Codec Codec

	// Locker acquires the locks of [Store.Update], which needs it. It should
	// use the same nodes.
	Locker *lock.Locker

	// Salt is mixed into the short hashes by which errors name sessions, so
	// that readers of logs cannot tell which session is meant. Processes with
	// the same Salt use the same names. Default: random for each Store.
	Salt string
}

// A Codec encodes and decodes the values of fields. Its methods are called
// concurrently.
type Codec interface {
	Marshal(v any) ([]byte, error)
	Unmarshal(data []byte, v any) error
}

type jsonCodec struct{}

func (jsonCodec) Marshal(v any) ([]byte, error) { return exactjson.Marshal(v) }

func (jsonCodec) Unmarshal(data []byte, v any) error { return exactjson.Unmarshal(data, v) }

const (
	maxLifetime = 400 * 24 * time.Hour
	maxSize     = 16 << 20
	maxName     = 256 // bytes of a user's or a field's name
	maxPrefix   = 256
)

func (cfg Config) withDefaults() Config {
	cfg.Prefix = cmp.Or(cfg.Prefix, "session:")
	cfg.Lifetime = cmp.Or(cfg.Lifetime, 14*24*time.Hour)
	cfg.Idle = cmp.Or(cfg.Idle, min(2*time.Hour, cfg.Lifetime))
	cfg.MaxSize = cmp.Or(cfg.MaxSize, 64<<10)
	cfg.Salt = cmp.Or(cfg.Salt, newID())
	if cfg.Codec == nil {
		cfg.Codec = jsonCodec{}
	}
	return cfg
}

// validate reports every bad field of a Config whose defaults have been filled
// in.
func (cfg Config) validate(c *nodeset.Set) error {
	var errs []error
	bad := func(field, format string, args ...any) { errs = append(errs, configerr.Field(field, format, args...)) }
	if len(cfg.Prefix) > maxPrefix {
		bad("Config.Prefix", "%d bytes; at most %d", len(cfg.Prefix), maxPrefix)
	}
	if cfg.Lifetime < time.Second || cfg.Lifetime > maxLifetime {
		bad("Config.Lifetime", "%v is out of range; from 1s to %v", cfg.Lifetime, maxLifetime)
	}
	if cfg.Idle < time.Second || cfg.Idle > cfg.Lifetime {
		bad("Config.Idle", "%v is out of range; from 1s to Lifetime, %v", cfg.Idle, cfg.Lifetime)
	}
	if cfg.MaxSize < 1 || cfg.MaxSize > maxSize {
		bad("Config.MaxSize", "%d is out of range; from 1 to %d bytes", cfg.MaxSize, maxSize)
	}
	for _, n := range c.Nodes() {
		if n.Sharded() {
			bad("cluster.Config", "node %s is a Redis Cluster, which cannot read a session and the data of its user in one script; "+
				"list independent servers instead", n.Name())
		}
	}
	return errors.Join(errs...)
}

// checkUser reports what is wrong with the name of a user, which may be empty.
func checkUser(user string) error {
	if len(user) > maxName {
		return configerr.Field("user", "%d bytes; at most %d; use an id of the user", len(user), maxName)
	}
	return nil
}

// checkName reports what is wrong with the name of a field.
func checkName(name string) error {
	if name == "" || len(name) > maxName || strings.ContainsRune(name, 0) {
		return configerr.Field("field", "a name of %d bytes; from 1 to %d, without a zero byte", len(name), maxName)
	}
	return nil
}
