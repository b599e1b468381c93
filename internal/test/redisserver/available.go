package redisserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Variable is the environment variable that names the server to run in place
// of the redis-server of PATH, such as "/opt/valkey/bin/valkey-server".
const Variable = "REDLOCK_TEST_SERVER"

// ErrNotInstalled is returned by [Available] if no server is named and PATH has
// no redis-server. Tests may be skipped for this reason alone.
var ErrNotInstalled = errors.New("redis-server is not installed")

// Available returns the absolute path of the server that Start runs, or an
// error that says what to do if there is none.
func Available() (path string, err error) {
	if named := os.Getenv(Variable); named != "" {
		path, err := exec.LookPath(named)
		if err == nil {
			path, err = filepath.Abs(path)
		}
		if err != nil {
			return "", fmt.Errorf("redisserver: %s: %w: set it to the path of an executable redis-server or valkey-server", Variable, err)
		}
		return path, nil
	}
	path, err = exec.LookPath("redis-server")
	if err != nil {
		return "", fmt.Errorf("redisserver: %w: %w: install Redis 6.2 or newer, on Debian with apt-get install redis-server, or name a server in %s",
			ErrNotInstalled, err, Variable)
	}
	return path, nil
}

// Version returns the kind and the version of the server at path, such as
// "redis-server 7.0.15" or "valkey-server 8.1.1".
func Version(path string) (string, error) {
	out, err := exec.Command(path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("redisserver: %s --version: %w", path, err)
	}
	version, err := parseVersion(string(out))
	if err != nil {
		return "", fmt.Errorf("redisserver: %s --version: %w", path, err)
	}
	return version, nil
}

var versionLine = regexp.MustCompile(`^(\w+) server v=(\S+)`)

// parseVersion reads a line such as "Valkey server v=8.1.1 sha=00000000:0 …".
func parseVersion(line string) (string, error) {
	m := versionLine.FindStringSubmatch(line)
	if m == nil {
		return "", fmt.Errorf("no version in %q", line)
	}
	return strings.ToLower(m[1]) + "-server " + m[2], nil
}
