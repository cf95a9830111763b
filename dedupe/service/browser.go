package service

import (
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// A web page can make its visitor's browser send requests to a server on the visitor's
// machine, which has no authorization. This file recognizes such requests.

// checkPage refuses requests that a browser sends for a page of another site. The Host
// header reveals a page whose domain name resolves to this machine; other pages are
// revealed by Origin or Sec-Fetch-Site, which no page can change or leave out.
func (s *service) checkPage(r *http.Request) error {
	if s.Listen == "" {
		return nil
	}
	host, ok := parseHost(r.Host)
	if !ok || !s.isOwn(r, host) && !slices.ContainsFunc(s.allowed, host.isNamedBy) {
		return refuse(http.StatusForbidden, "this server is not known as %q: start it with --allow-host if that is a proxy's name for it", r.Host)
	}
	for _, site := range r.Header.Values("Sec-Fetch-Site") {
		if site != "same-origin" && site != "none" {
			return refuse(http.StatusForbidden, "a page of another site may not use this server")
		}
	}
	for _, origin := range r.Header.Values("Origin") {
		if !s.isSameOrigin(origin, host) {
			return refuse(http.StatusForbidden, "a page of %q may not use this server", origin)
		}
	}
	return nil
}

// checkForm refuses bodies that a page can send to another site without asking first, if
// a browser sends them. Other clients may name any type.
func (s *service) checkForm(r *http.Request) error {
	if s.Listen == "" || len(r.Header.Values("Origin")) == 0 && len(r.Header.Values("Sec-Fetch-Site")) == 0 {
		return nil
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return refuse(http.StatusUnsupportedMediaType, "from a browser, the body must be application/json")
	}
	return nil
}

// host is a host and port in a URL, normalized.
type host struct {
	name string // in lower case, without a trailing dot, or an IP address
	port string // empty if there is none
}

// parseHost parses a host with an optional port. It fails if the text contains more.
func parseHost(text string) (host, bool) {
	u, err := url.Parse("http://" + text)
	if err != nil || u.Host != text || u.Hostname() == "" {
		return host{}, false
	}
	name := normalHost(u.Hostname())
	return host{name, u.Port()}, name != ""
}

// normalHost returns the one spelling of a name or an IP address.
func normalHost(name string) string {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if ip, err := netip.ParseAddr(name); err == nil {
		return ip.Unmap().WithZone("").String()
	}
	return name
}

// isNamedBy reports whether an entry of AllowHosts names the host. An entry without a
// port names all ports.
func (h host) isNamedBy(allowed host) bool {
	return allowed.name == h.name && (allowed.port == "" || allowed.port == h.port)
}

// isOwn reports whether a request names the server as clients on this machine do, or by
// the address that it arrived at. No domain name can pose as these.
func (s *service) isOwn(r *http.Request, h host) bool {
	if h.name == "localhost" || h.name == s.listens {
		return true
	}
	ip, err := netip.ParseAddr(h.name)
	if err != nil {
		return false
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ip.IsLoopback() || local != nil && ip == local.AddrPort().Addr().Unmap().WithZone("")
}

// isSameOrigin reports whether an Origin is the host of the request, or a proxy's name
// for it.
func (s *service) isSameOrigin(origin string, to host) bool {
	scheme, rest, _ := strings.Cut(origin, "://")
	from, ok := parseHost(rest)
	usual := map[string]string{"http": "80", "https": "443"}[scheme]
	if !ok || usual == "" {
		return false
	}
	port := func(h host) string {
		if h.port == usual {
			return ""
		}
		return h.port
	}
	return from.name == to.name && port(from) == port(to) ||
		slices.ContainsFunc(s.allowed, func(a host) bool { return a.name == from.name && port(a) == port(from) })
}

// parseHosts reads AllowHosts.
func parseHosts(all []string) ([]host, error) {
	hosts := make([]host, 0, len(all))
	for _, text := range all {
		h, ok := parseHost(text)
		if !ok {
			return nil, fmt.Errorf("cannot allow the host %q: give a name such as scans.example.com, with or without a port", text)
		}
		hosts = append(hosts, h)
	}
	return hosts, nil
}
