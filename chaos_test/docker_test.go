//go:build unix

package chaos_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/ory/dockertest/v3"
	dc "github.com/ory/dockertest/v3/docker"

	"github.com/venta-hq/redlock/internal/test/chaos"
	"github.com/venta-hq/redlock/internal/test/ports"
)

// Labels of every container. A container belongs to the process that made it, and may be removed by others when that
// is gone, or when its time is over, whoever made it.
const (
	labelChaos = "venta-hq.redlock.chaos"
	labelHost  = labelChaos + ".host"  // the boot of the machine and the namespace in which pid counts
	labelPID   = labelChaos + ".pid"   // of the test's process
	labelUntil = labelChaos + ".until" // Unix seconds
)

// containerLife is after how long the engine kills a container of which nobody took care.
const containerLife = 10 * time.Minute

// engine is a Docker engine, and an image on it.
type engine struct {
	pool            *dockertest.Pool
	repository, tag string
	bind, dial      string // where ports are published, and where they are reached
}

// dockerBackend connects to the engine that the environment names and makes sure that a node can be run on it.
func dockerBackend() (*chaos.Backend, error) {
	pool, err := dockertest.NewPool("")
	if err != nil {
		return nil, fmt.Errorf("no Docker engine: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := pool.Client.PingWithContext(ctx); err != nil {
		return nil, fmt.Errorf("no Docker engine answers: %w", err)
	}
	e := &engine{pool: pool}
	e.bind, e.dial = publishedAt(pool.Client.Endpoint())
	if e.repository, e.tag, err = ensureImage(pool); err != nil {
		return nil, err
	}
	if err := e.sweep(); err != nil {
		return nil, fmt.Errorf("the containers of earlier runs: %w", err)
	}
	name, err := e.try()
	if err != nil {
		return nil, fmt.Errorf("a Docker engine answers, but a container on it does not: %w", err)
	}
	return chaos.NewBackend(name, e.start, e.close), nil
}

// close removes what was left behind, which the next run would otherwise do.
func (e *engine) close() {
	_ = e.sweep()
	e.pool.Client.HTTPClient.CloseIdleConnections()
}

// publishedAt is the address on which ports are published: loopback if the engine is on this machine.
func publishedAt(endpoint string) (bind, dial string) {
	if u, err := url.Parse(endpoint); err == nil && u.Scheme != "unix" && u.Hostname() != "" {
		return "0.0.0.0", u.Hostname()
	}
	return "127.0.0.1", "127.0.0.1"
}

// try runs one node, and says which Redis on which engine it is.
func (e *engine) try() (string, error) {
	set, err := e.start(1, chaos.NodeKind{})
	if err != nil {
		return "", err
	}
	version, err := chaos.ServerName(set.Addrs()[0])
	if err := errors.Join(err, set.Close()); err != nil {
		return "", err
	}
	env, err := e.pool.Client.Version()
	if err != nil {
		return "", err
	}
	engineVersion, _, _ := strings.Cut(env.Get("Version"), "+")
	name := fmt.Sprintf("%s containers on Docker Engine %s", version, engineVersion)
	if e.repository != localImage {
		name += fmt.Sprintf(", from %s:%s", e.repository, e.tag)
	}
	return name, nil
}

// host names what a process id is valid in.
func host() string {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // elsewhere the host's name has to do
	space, _ := os.Readlink("/proc/self/ns/pid")
	name, _ := os.Hostname()
	return strings.TrimSpace(string(boot)) + " " + space + " " + name
}

func (e *engine) labels() map[string]string {
	return map[string]string{
		labelChaos: "node", labelHost: host(), labelPID: strconv.Itoa(os.Getpid()),
		labelUntil: strconv.FormatInt(time.Now().Add(containerLife).Unix(), 10),
	}
}

// sweep removes containers with our label that nobody will miss: those of this process, of processes that are gone, and
// those whose time is over.
func (e *engine) sweep() error {
	all, err := e.pool.Client.ListContainers(dc.ListContainersOptions{
		All: true, Filters: map[string][]string{"label": {labelChaos}},
	})
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range all {
		if abandoned(c.Labels) {
			errs = append(errs, e.remove(c.ID))
		}
	}
	return errors.Join(errs...)
}

func abandoned(labels map[string]string) bool {
	until, err := strconv.ParseInt(labels[labelUntil], 10, 64)
	if err == nil && time.Now().Unix() > until {
		return true
	}
	pid, err := strconv.Atoi(labels[labelPID])
	if err != nil || labels[labelHost] != host() {
		return false
	}
	return pid == os.Getpid() || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

func (e *engine) remove(id string) error {
	err := e.pool.Client.RemoveContainer(dc.RemoveContainerOptions{ID: id, Force: true, RemoveVolumes: true})
	var gone *dc.NoSuchContainer
	if errors.As(err, &gone) {
		return nil
	}
	return err
}

// containers are nodes that are containers.
type containers struct {
	e    *engine
	kind chaos.NodeKind
	all  []*container
	chaos.Clocks
}

type container struct {
	port     int
	resource *dockertest.Resource
}

func (e *engine) start(n int, k chaos.NodeKind) (chaos.Nodes, error) {
	c, err := e.clocksOf(k)
	if err != nil {
		return nil, err
	}
	s := &containers{e: e, kind: k, all: make([]*container, n), Clocks: c}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { s.all[i], errs[i] = s.run(i) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// clocksOf makes the clocks of nodes. They are files of this machine, whose libfaketime only an image has that was made here.
func (e *engine) clocksOf(k chaos.NodeKind) (chaos.Clocks, error) {
	if k.Clocks != nil && e.repository != localImage {
		return chaos.Clocks{}, fmt.Errorf("the image %s:%s was not made here", e.repository, e.tag)
	}
	return chaos.NewClocks(k.Clocks)
}

// run starts a container on a free port. One that was free when it was chosen may be taken when the engine binds it;
// then another is tried.
func (s *containers) run(i int) (*container, error) {
	const tries = 5
	var errs []error
	for range tries {
		l, port, err := ports.Take()
		if err != nil {
			return nil, err
		}
		_ = l.Close() // nothing was accepted on it
		c, err := s.runOn(i, port)
		if err == nil {
			return c, nil
		}
		ports.Give(port)
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (s *containers) runOn(i, port int) (*container, error) {
	const inside, data, clock = "6379/tcp", "/data", "/clock"
	name := fmt.Sprintf("redlock-chaos-%d-%08x", os.Getpid(), rand.Uint32())
	o := &dockertest.RunOptions{
		Name: name, Repository: s.e.repository, Tag: s.e.tag, Labels: s.e.labels(), Cmd: s.command(),
		ExposedPorts: []string{inside},
		PortBindings: map[dc.Port][]dc.PortBinding{inside: {{HostIP: s.e.bind, HostPort: strconv.Itoa(port)}}},
	}
	if s.kind.Clocks != nil {
		dir, file := filepath.Split(s.File(i))
		o.Env, o.Mounts = s.Env(path.Join(clock, file)), []string{dir + ":" + clock}
	}
	resource, err := s.e.pool.RunWithOptions(o, func(host *dc.HostConfig) {
		if s.kind.SmallDisk {
			host.Tmpfs = map[string]string{data: "size=" + chaos.SmallDiskSize}
		}
	})
	if err != nil {
		return nil, errors.Join(err, s.e.remove(name)) // it may have been created
	}
	c := &container{port: port, resource: resource}
	if err := errors.Join(c.expire(), chaos.AwaitAnswer(s.addr(c))); err != nil {
		return nil, errors.Join(err, s.e.remove(name))
	}
	return c, nil
}

func (s *containers) command() []string {
	cmd := []string{"redis-server", "--port", "6379", "--bind", "0.0.0.0", "--protected-mode", "no", "--dir", "/data", "--save", ""}
	if s.kind.Memory != chaos.NoMemory {
		cmd = append(cmd, "--appendonly", "yes", "--appendfsync", string(s.kind.Memory))
	}
	return cmd
}

// expire has the engine kill the container after its life. It ends with the container, so every start needs it anew.
func (c *container) expire() error { return c.resource.Expire(uint(containerLife / time.Second)) }

func (s *containers) addr(c *container) string {
	return net.JoinHostPort(s.e.dial, strconv.Itoa(c.port))
}

func (s *containers) Addrs() []string {
	var addrs []string
	for _, c := range s.all {
		addrs = append(addrs, s.addr(c))
	}
	return addrs
}

func (s *containers) Inside(i int) (host, port string, err error) {
	c, err := s.e.pool.Client.InspectContainer(s.id(i))
	if err != nil {
		return "", "", err
	}
	return c.NetworkSettings.IPAddress, "6379", nil
}

func (s *containers) id(i int) string { return s.all[i].resource.Container.ID }

func (s *containers) Stop(i int) error {
	if err := s.e.pool.Client.KillContainer(dc.KillContainerOptions{ID: s.id(i), Signal: dc.SIGKILL}); err != nil {
		var ended *dc.ContainerNotRunning
		if !errors.As(err, &ended) {
			return err
		}
	}
	_, err := s.e.pool.Client.WaitContainer(s.id(i))
	return err
}

func (s *containers) Restart(i int) error {
	if err := s.e.pool.Client.StartContainer(s.id(i), nil); err != nil {
		return err
	}
	return errors.Join(s.all[i].expire(), chaos.AwaitAnswer(s.addr(s.all[i])))
}

// Pause freezes a container. On a busy machine the engine gives up freezing one now and then, and thaws it; then it is asked
// again.
func (s *containers) Pause(i int) error {
	const tries = 5
	return backoff.Retry(func() error {
		err := s.e.pool.Client.PauseContainer(s.id(i))
		if err != nil && !strings.Contains(err.Error(), "unable to freeze") {
			err = backoff.Permanent(err)
		}
		return err
	}, backoff.WithMaxRetries(backoff.NewConstantBackOff(100*time.Millisecond), tries))
}

func (s *containers) Resume(i int) error { return s.e.pool.Client.UnpauseContainer(s.id(i)) }

// CutTail fetches the append-only file and puts a shorter one in its place, which an engine does also while a container is stopped.
func (s *containers) CutTail(i int, part float64) error {
	const dir = "/data/appendonlydir"
	var files, shorter bytes.Buffer
	err := s.e.pool.Client.DownloadFromContainer(s.id(i), dc.DownloadFromContainerOptions{Path: dir, OutputStream: &files})
	if err != nil {
		return err
	}
	in := tar.NewReader(&files)
	h, err := in.Next()
	for err == nil && !strings.HasSuffix(h.Name, ".incr.aof") {
		h, err = in.Next()
	}
	if err != nil {
		return fmt.Errorf("node %d has no append-only file: %w", i, err)
	}
	h.Name, h.Size = path.Base(h.Name), int64(float64(h.Size)*part)
	out := tar.NewWriter(&shorter)
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	if _, err := io.CopyN(out, in, h.Size); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return s.e.pool.Client.UploadToContainer(s.id(i), dc.UploadToContainerOptions{Path: dir, InputStream: &shorter})
}

func (s *containers) Close() error {
	errs := make([]error, len(s.all))
	var wg sync.WaitGroup
	for i, c := range s.all {
		if c != nil {
			wg.Go(func() {
				if errs[i] = s.e.remove(s.id(i)); errs[i] == nil {
					ports.Give(c.port)
				}
			})
		}
	}
	wg.Wait()
	return errors.Join(append(errs, s.Remove())...)
}
