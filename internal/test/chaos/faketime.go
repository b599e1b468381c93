//go:build unix

package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// Clocks are the clocks that nodes read through libfaketime, each from a file in a directory of its own.
type Clocks struct {
	dir     string // "" if there are none
	preload string
}

// NewClocks creates a clock for each of settings.
func NewClocks(settings []string) (c Clocks, err error) {
	if settings == nil {
		return c, nil
	}
	lib, libc, err := Faketime()
	if err != nil {
		return c, err
	}
	if c.dir, err = os.MkdirTemp("", "redlock-clocks-"); err != nil {
		return c, err
	}
	c.preload = lib + ":" + libc
	err = os.Chmod(c.dir, 0o755) // containers read it too
	for i, setting := range settings {
		err = errors.Join(err, os.Mkdir(filepath.Dir(c.File(i)), 0o755), c.SetClock(i, setting))
	}
	return c, err
}

// File returns the file of the clock of node i.
func (c Clocks) File(i int) string { return filepath.Join(c.dir, strconv.Itoa(i), "clock") }

// Env returns the environment of a node whose clock is in file. libc is preloaded second, because redis-server's
// allocator does not start under libfaketime alone.
func (c Clocks) Env(file string) []string {
	return []string{
		"LD_PRELOAD=" + c.preload, "FAKETIME_TIMESTAMP_FILE=" + file, "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1",
	}
}

// SetClock sets the clock of node i, at once and atomically.
func (c Clocks) SetClock(i int, setting string) error {
	if c.dir == "" {
		return errors.New("these nodes have the machine's clock")
	}
	next := c.File(i) + ".next"
	return errors.Join(os.WriteFile(next, []byte(setting+"\n"), 0o644), os.Rename(next, c.File(i)))
}

// Remove removes the files.
func (c Clocks) Remove() error {
	if c.dir == "" {
		return nil
	}
	return os.RemoveAll(c.dir)
}

// errNoFaketime matches the error of nodes whose clocks are to be set on a machine without libfaketime.
var errNoFaketime = errors.New("libfaketime is missing: on Debian, apt-get install libfaketime")

// Faketime returns the paths of libfaketime and of the libc that redis-server uses.
func Faketime() (lib, libc string, err error) {
	for _, dir := range []string{"/usr/lib/*/faketime", "/usr/lib64/faketime", "/usr/lib/faketime", "/usr/local/lib/faketime"} {
		if found, err := filepath.Glob(filepath.Join(dir, "libfaketime.so.1")); err == nil && len(found) > 0 {
			lib = found[0]
			break
		}
	}
	if lib == "" {
		return "", "", errNoFaketime
	}
	server, err := redisserver.Available()
	if err != nil {
		return "", "", err
	}
	_, files, err := Libraries(server)
	if err != nil {
		return "", "", err
	}
	for _, f := range files {
		if filepath.Base(f) == "libc.so.6" {
			return lib, f, nil
		}
	}
	return "", "", errors.New("redis-server does not use glibc, for which libfaketime is made")
}

// tryClock checks that a node's clock can be set, to an hour later.
func tryClock(set Nodes) error {
	if err := set.SetClock(0, "+3600"); err != nil {
		return err
	}
	c := redis.NewClient(ownOptions(set.Addrs()[0]))
	shown, err := c.Time(context.Background()).Result()
	if err := errors.Join(err, c.Close()); err != nil {
		return err
	}
	if ahead := time.Until(shown); ahead < time.Hour/2 {
		return fmt.Errorf("the clock of a node was set to an hour later, and shows %v later", ahead)
	}
	return nil
}
