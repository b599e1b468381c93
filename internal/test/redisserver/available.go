package redisserver

import (
	"fmt"
	"os/exec"
	"regexp"
)

// Available returns the path of the redis-server that Start runs, or an error
// that says what to do if there is none.
func Available() (path string, err error) {
	path, err = exec.LookPath("redis-server")
	if err != nil {
		return "", fmt.Errorf("redisserver: %w: install Redis 6.2 or newer, on Debian with apt-get install redis-server", err)
	}
	return path, nil
}

var versionField = regexp.MustCompile(`\bv=(\S+)`)

// Version returns the version of the redis-server at path, such as "7.0.15".
func Version(path string) (string, error) {
	out, err := exec.Command(path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("redisserver: %s --version: %w", path, err)
	}
	m := versionField.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("redisserver: %s --version printed %q, which has no version", path, out)
	}
	return string(m[1]), nil
}
