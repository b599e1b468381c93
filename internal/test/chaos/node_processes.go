//go:build unix

package chaos

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// Processes returns a backend that runs nodes as child processes. why is the
// reason for this choice, for the log.
func Processes(why string) (*Backend, error) {
	path, err := redisserver.Available()
	if err != nil {
		return nil, fmt.Errorf("%w: %s; %w", ErrNoNodes, why, err)
	}
	version, err := redisserver.Version(path)
	if err != nil {
		return nil, err
	}
	return NewBackend(fmt.Sprintf("%s child processes: %s", version, why), startProcesses, func() {}), nil
}

func startProcesses(n int, k NodeKind) (Nodes, error) {
	o := redisserver.Options{Persist: k.Memory != NoMemory}
	if o.Persist {
		o.Args = []string{"--appendfsync", string(k.Memory)}
	}
	if k.SmallDisk {
		o.Disk = SmallDiskSize
	}
	c, err := NewClocks(k.Clocks)
	if err != nil {
		return nil, err
	}
	if k.Clocks != nil {
		o.Env = func(i int) []string { return c.Env(c.File(i)) }
	}
	s, err := redisserver.Start(n, o)
	if err != nil {
		return nil, errors.Join(err, c.Remove())
	}
	return processes{s, o.Persist, c}, nil
}

// processes are nodes that are child processes.
type processes struct {
	set  *redisserver.Nodes
	keep bool
	Clocks
}

func (p processes) Addrs() []string {
	var addrs []string
	for _, url := range p.set.URLs() {
		addrs = append(addrs, strings.TrimPrefix(url, "redis://"))
	}
	return addrs
}

func (p processes) Stop(i int) error { p.set.Stop(i); return nil }

func (p processes) Restart(i int) error { return p.set.Restart(i, !p.keep) }

func (p processes) Pause(i int) error { p.set.Pause(i); return nil }

func (p processes) Resume(i int) error { p.set.Resume(i); return nil }

func (p processes) Inside(i int) (host, port string, err error) {
	return net.SplitHostPort(p.Addrs()[i])
}

func (p processes) Close() error { p.set.Close(); return p.Remove() }

func (p processes) CutTail(i int, part float64) error {
	files, err := filepath.Glob(filepath.Join(p.set.Dir(i), "appendonlydir", "*.incr.aof"))
	if err != nil || len(files) != 1 {
		return fmt.Errorf("node %d has these append-only files: %q", i, files)
	}
	info, err := os.Stat(files[0])
	if err != nil {
		return err
	}
	return os.Truncate(files[0], int64(float64(info.Size())*part))
}
