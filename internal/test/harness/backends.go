package harness

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/test/redisserver"
)

const (
	variable     = "REDLOCK_TEST_BACKENDS"
	nameEmbedded = "embedded"
	nameRedis    = "redis"
)

// choice says which backends tests run on.
type choice struct {
	variable        string // the environment variable's value
	explicit        bool   // the variable is set, so the named backends must be available
	embedded, redis bool
}

// choose reads the choice from the environment. By default it is every backend.
func choose() (choice, error) { return parse(os.Getenv(variable)) }

func parse(value string) (choice, error) {
	if value == "" {
		return choice{embedded: true, redis: true}, nil
	}
	c := choice{variable: value, explicit: true}
	for name := range strings.SplitSeq(value, ",") {
		switch strings.TrimSpace(name) {
		case nameEmbedded:
			c.embedded = true
		case nameRedis:
			c.redis = true
		default:
			return choice{}, fmt.Errorf("%s is %q: %q is no backend, name %s or %s or both, separated by a comma",
				variable, value, name, nameEmbedded, nameRedis)
		}
	}
	return c, nil
}

// part is the variable that divides the tests into two parts: "first" runs
// those of [Each] on one backend, real nodes if possible, and "rest" only those
// that "first" left out. Without it they run on every backend.
const part = "REDLOCK_TEST_PART"

// RanBefore is the message of a test that is skipped because the other part
// runs it.
const RanBefore = "it is in the first part of the tests"

// each returns the choice for the tests of [Each].
func (c choice) each() choice {
	both := c.embedded && c.redis
	if both && !c.explicit {
		_, err := redisserver.Available()
		both = !errors.Is(err, redisserver.ErrNotInstalled)
	}
	switch value := os.Getenv(part); {
	case value == "first" && both:
		c.embedded = false
	case value == "rest":
		c.redis, c.embedded = false, both
	}
	return c
}

// skipRanBefore skips a test that chooses its backend by itself.
func skipRanBefore(t testing.TB) {
	t.Helper()
	if os.Getenv(part) == "rest" {
		t.Skip(RanBefore)
	}
}

// Backends returns one line that says which backends tests run on, and why.
func Backends() string {
	c, err := choose()
	if err != nil {
		return "no nodes: " + err.Error()
	}
	return c.describe(realServer())
}

// describe returns the result of the choice, given the available real server or
// the error why there is none.
func (c choice) describe(server string, err error) string {
	const inProcess = "embedded nodes (miniredis)"
	switch {
	case c.embedded && c.redis && err == nil:
		return inProcess + " and " + server
	case c.redis && err != nil && !errors.Is(err, redisserver.ErrNotInstalled):
		return "tests fail: " + err.Error()
	case c.redis && err == nil:
		return server + " only: " + variable + "=" + c.variable
	case c.redis && c.explicit:
		return fmt.Sprintf("tests fail: %s=%s, but %v", variable, c.variable, err)
	case c.redis:
		return "embedded nodes only: " + redisserver.ErrNotInstalled.Error()
	}
	return "embedded nodes only: " + variable + "=" + c.variable
}

// realServer returns the name of the server that tests run.
func realServer() (string, error) {
	path, err := redisserver.Available()
	if err != nil {
		return "", err
	}
	version, err := redisserver.Version(path)
	if err != nil {
		return "", err
	}
	return version + " at " + path, nil
}
