# Benchmarks against Kamailio (bench.py's head says how) and the load generator.
# common/conf reads YAML's events by libyaml, libcyaml's own parser.
LDLIBS += -lyaml
