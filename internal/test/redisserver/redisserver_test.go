package redisserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// need skips the test where no server is installed.
func need(t *testing.T) {
	t.Helper()
	if _, err := Available(); errors.Is(err, ErrNotInstalled) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, n int, o Options) *Nodes {
	t.Helper()
	need(t)
	s, err := Start(n, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func client(t *testing.T, url string, roots *x509.CertPool) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	if roots != nil {
		o.TLSConfig = &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
	}
	o.MaxRetries, o.DialerRetries, o.DisableIdentity = -1, 1, true
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = startTimeout, startTimeout, startTimeout
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestVersion_NamesTheInstalledServer(t *testing.T) {
	need(t)
	path, err := Available()
	if err != nil {
		t.Fatal(err)
	}
	if v, err := Version(path); err != nil || !strings.Contains(v, "-server ") || strings.Count(v, ".") != 2 {
		t.Errorf("Version = %q, %v, want something like redis-server 7.0.15", v, err)
	}
}

func TestParseVersion_KnowsEachServer(t *testing.T) {
	for line, want := range map[string]string{
		"Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64 build=38a1a5b2a7f2b4c1\n": "redis-server 7.0.15",
		"Redis server v=8.0.3 sha=00000000:1 malloc=jemalloc-5.3.0 bits=64 build=bba4a1a5ebf7a9b4\n":  "redis-server 8.0.3",
		"Valkey server v=8.1.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=27a4a2f7e6b0c9d\n":  "valkey-server 8.1.1",
		"Valkey server v=9.1.2 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=5f9d1c0b2a3e4d6\n":  "valkey-server 9.1.2",
		"Redict server v=7.3.6 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=d9b8e1f0a2c3b4d5\n": "redict-server 7.3.6",
		"Valkey server v=8.0.0-rc1 sha=2e1c4b0a:1 malloc=libc bits=64 build=7c6a5b4d3e2f1a0b\n":       "valkey-server 8.0.0-rc1",
		"redis-cli 7.0.15\n": "",
		"":                   "",
	} {
		if got, err := parseVersion(line); got != want || (err == nil) != (want != "") {
			t.Errorf("parseVersion(%q) = %q, %v, want %q", line, got, err, want)
		}
	}
}

func TestAvailable_RunsTheNamedServer(t *testing.T) {
	need(t)
	installed, err := Available()
	if err != nil {
		t.Fatal(err)
	}
	named := filepath.Join(t.TempDir(), "some-server")
	if err := os.Symlink(installed, named); err != nil {
		t.Skip(err)
	}
	t.Setenv(Variable, named)
	t.Setenv("PATH", t.TempDir()) // no redis-server, no redis-sentinel, no redis-cli
	if path, err := Available(); path != named || err != nil {
		t.Errorf("Available = %q, %v, want %q", path, err, named)
	}
	s := start(t, 1, Options{})
	if path := s.nodes[0].path; path != named {
		t.Errorf("the node runs %q, want %q", path, named)
	}
	p, err := StartPair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	for _, n := range append(p.servers.nodes, p.sentinel) {
		if n.path != named {
			t.Errorf("%s runs %q, want %q", n.addr(), n.path, named)
		}
	}
}

func TestAvailable_FailsIfTheNamedServerCannotRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "redis-server")
	if err := os.WriteFile(file, []byte("no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, named := range []string{file, file + "-missing", filepath.Dir(file)} {
		t.Setenv(Variable, named)
		if path, err := Available(); err == nil || !strings.Contains(err.Error(), Variable) || errors.Is(err, ErrNotInstalled) {
			t.Errorf("%s=%s: %q, %v, want an error that names the variable and skips no test", Variable, named, path, err)
		}
	}
}

func TestAvailable_SaysWhatToDo(t *testing.T) {
	t.Setenv(Variable, "")
	t.Setenv("PATH", t.TempDir())
	if _, err := Available(); !errors.Is(err, ErrNotInstalled) || !strings.Contains(err.Error(), "apt-get install") {
		t.Errorf("Available = %v, want an error that says what to install", err)
	}
	if _, err := Start(1, Options{}); err == nil {
		t.Error("Start succeeded without a redis-server")
	}
}

func TestNodes_Restart_WithoutPersistenceOnlyEmpty(t *testing.T) {
	s := start(t, 1, Options{})
	c := client(t, s.URLs()[0], nil)
	if err := c.Set(t.Context(), "key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(0, false); err == nil || !strings.Contains(err.Error(), "Persist") {
		t.Errorf("Restart = %v, want an error that names Options.Persist", err)
	}
	if got := c.Get(t.Context(), "key").Val(); got != "value" {
		t.Errorf("GET = %q: the refused restart hurt the node", got)
	}
	if err := s.Restart(0, true); err != nil {
		t.Fatal(err)
	}
	if n, err := client(t, s.URLs()[0], nil).DBSize(t.Context()).Result(); err != nil || n != 0 {
		t.Errorf("DBSIZE = %d, %v, want 0", n, err)
	}
}

func TestNodes_Restart_KeepsPersistentDataAfterAKill(t *testing.T) {
	s := start(t, 2, Options{Persist: true})
	c := client(t, s.URLs()[1], nil)
	if err := c.Set(t.Context(), "key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.Stop(1)
	if err := s.Restart(1, false); err != nil {
		t.Fatal(err)
	}
	if got, err := client(t, s.URLs()[1], nil).Get(t.Context(), "key").Result(); got != "value" {
		t.Errorf("GET = %q, %v after a restart that keeps the data", got, err)
	}
	if err := s.Restart(1, true); err != nil {
		t.Fatal(err)
	}
	if n, err := client(t, s.URLs()[1], nil).DBSize(t.Context()).Result(); err != nil || n != 0 {
		t.Errorf("DBSIZE = %d, %v after a restart that loses the data, want 0", n, err)
	}
}

func TestOptions_Password_IsRequired(t *testing.T) {
	const password = "p@ss:w/ rd"
	s := start(t, 1, Options{Password: password})
	if err := client(t, s.URLs()[0], nil).Ping(t.Context()).Err(); err != nil {
		t.Errorf("with the password: %v", err)
	}
	_, host, _ := strings.Cut(s.URLs()[0], "@")
	if err := client(t, "redis://"+host, nil).Ping(t.Context()).Err(); err == nil {
		t.Error("a node with a password answers a client without")
	}
	if got := s.Commands(0); got["auth"] != 0 {
		t.Errorf("Commands = %v, want without this package's AUTH", got)
	}
}

func TestOptions_TLS_IsRequired(t *testing.T) {
	files, roots := certificate(t)
	s := start(t, 1, Options{TLS: files, Password: "secret"})
	url := s.URLs()[0]
	if !strings.HasPrefix(url, "rediss://:secret@127.0.0.1:") {
		t.Errorf("URL = %s", url)
	}
	if err := client(t, url, roots).Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := client(t, strings.Replace(url, "rediss", "redis", 1), nil).Ping(ctx).Err(); err == nil {
		t.Error("a TLS node answers without TLS")
	}
	if err := s.Restart(0, true); err != nil {
		t.Error(err)
	}
}

// certificate returns a self-signed certificate for 127.0.0.1.
func certificate(t *testing.T) (*TLS, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyBytes, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	certFile := write("cert.pem", "CERTIFICATE", cert)
	roots := x509.NewCertPool()
	pemBytes, err := os.ReadFile(certFile)
	if err != nil || !roots.AppendCertsFromPEM(pemBytes) {
		t.Fatalf("no certificate in %s: %v", certFile, err)
	}
	return &TLS{CertFile: certFile, KeyFile: write("key.pem", "PRIVATE KEY", keyBytes), CAFile: certFile}, roots
}

func TestOptions_Args_ReachTheServer(t *testing.T) {
	s := start(t, 1, Options{Args: []string{"--maxmemory", "123456789"}})
	got, err := client(t, s.URLs()[0], nil).ConfigGet(t.Context(), "maxmemory").Result()
	if err != nil || got["maxmemory"] != "123456789" {
		t.Errorf("maxmemory = %v, %v", got, err)
	}
}

func TestStart_RefusesBadOptions(t *testing.T) {
	_, err := Start(0, Options{TLS: &TLS{CertFile: "no-such.pem"}})
	if err == nil {
		t.Fatal("Start succeeded")
	}
	for _, want := range []string{"n is 0", `CertFile "no-such.pem"`, "KeyFile", "CAFile"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
	need(t)
	_, err = Start(1, Options{Args: []string{"--no-such-option", "1"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-option") {
		t.Errorf("Start = %v, want the server's own words", err)
	}
}

// Another server that answers on the port is not mistaken for the node.
func TestNodes_Restart_ReportsAPortThatIsTaken(t *testing.T) {
	a, b := start(t, 1, Options{}), start(t, 1, Options{})
	a.Stop(0)
	a.nodes[0].port = b.nodes[0].port
	if err := a.Restart(0, true); !errors.Is(err, errPortTaken) {
		t.Errorf("Restart = %v, want errPortTaken", err)
	}
}

func TestNodes_Close_RemovesEverything(t *testing.T) {
	s := start(t, 2, Options{Persist: true})
	pids := []int{s.nodes[0].proc.pid, s.nodes[1].proc.pid}
	s.Pause(0)
	s.Close()
	s.Close()
	if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory still exists: %v", err)
	}
	for _, pid := range pids {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
			t.Errorf("process %d still exists", pid)
		}
	}
}

func TestNodes_PanicWhenAnIndexIsOutOfRange(t *testing.T) {
	s := start(t, 1, Options{})
	defer func() {
		if got := fmt.Sprint(recover()); !strings.Contains(got, "the set has 1 nodes") {
			t.Errorf("panic = %q", got)
		}
	}()
	s.Stop(1)
}
