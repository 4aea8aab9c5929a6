// A generator network of any kind, with the interface that the training, sampling and scoring of flow maps need.
//
// A backbone is a module whose config has `mean_flow`: true for a flow map (two times), false for a velocity (one time). A backbone is called like DiT^DH:
//   (z, t, y) -> velocity, and with mean_flow (z, s, t, y) -> average velocity.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "flowmap/network.h"
#include "nn/checkpoint.h"
#include "nn/optim/adamw.h"
#include "nn/optim/follow.h"

namespace fm {

template <class M>
concept Backbone = Module<M> && requires(const M& m, const Var& z, const Tensor& labels) {
  { m.config.mean_flow } -> std::convertible_to<bool>;
  { m(z, z, labels) } -> std::same_as<Var>;
  { m(z, z, z, labels) } -> std::same_as<Var>;
};

// (z, k, t, y) -> velocities of z and k, of their shapes.
using JointVelocityNet = std::function<std::pair<Var, Var>(const Var& z, const Var& k, const Var& t, const Labels& y)>;

// Copies of a Network share one model. clone() copies the model.
class Network {
 public:
  Network() = default;                                     // an empty handle: no network
  template <Backbone M> explicit Network(std::shared_ptr<M> model) : held_(std::make_shared<Model<M>>(std::move(model))) {}

  explicit operator bool() const { return held_ != nullptr; }

  bool two_times() const { return held().two_times; }
  const VelocityNet& v() const { return held().v; }        // for a flow map it is v(z, t) = u(z, t, t)
  const FlowMapNet& u() const { return held().u; }         // for a velocity it is u(z, s, t) = v(z, t) for any s
  // Numbers of a second variable k that a velocity moves together with z (config.class_token); 0: none. Above 0 v() is an error, and joint() takes its place.
  std::int64_t beside() const { return held().beside; }
  const JointVelocityNet& joint() const { return held().joint; }

  std::vector<NamedParameter> parameters() const { return held().parameters(); }
  StateDict state() const { return held().state(); }       // shares memory with the model
  Network clone() const { return held().clone(); }
  void freeze() const { held().freeze(); }
  void load(const Weights& weights) const { held().load(weights); }        // FileError if a name or shape differs (load_model)
  std::string precision() const { return held().precision(); }             // the number format of its blocks: "f32" or "bf16"
  // Clones that compute in this precision (ConfigError if the model computes only in f32), or entirely in f64, for reference values.
  Network in_precision(const std::string& precision) const { return held().in_precision(precision); }
  Network in_f64() const { return held().in_f64(); }
  // Returns the model itself if it is an M, else null. For code that concerns only one kind of model.
  template <Backbone M> std::shared_ptr<M> as() const {
    const auto* model = dynamic_cast<const Model<M>*>(held_.get());
    return model == nullptr ? nullptr : model->model;
  }
  // parameters <- decay * parameters + (1 - decay) * the leader's parameters. Error if the leader is not a network of the same kind.
  void follow(const Network& leader, double decay) const { held().follow(leader.held(), decay); }

 private:
  struct Held {
    virtual ~Held() = default;
    virtual std::vector<NamedParameter> parameters() const = 0;
    virtual StateDict state() const = 0;
    virtual Network clone() const = 0;
    virtual void freeze() const = 0;
    virtual void load(const Weights& weights) const = 0;
    virtual std::string precision() const = 0;
    virtual Network in_precision(const std::string& precision) const = 0;
    virtual Network in_f64() const = 0;
    virtual void follow(const Held& leader, double decay) const = 0;
    bool two_times = false;
    VelocityNet v;
    FlowMapNet u;
    std::int64_t beside = 0;
    JointVelocityNet joint;
  };

  template <Backbone M> struct Model : Held {
    explicit Model(std::shared_ptr<M> m) : model(std::move(m)) {
      this->two_times = model->config.mean_flow;
      this->v = [own = model](const Var& z, const Var& t, const Labels& y) { return (*own)(z, t, y); };
      if (this->two_times) this->u = [own = model](const Var& z, const Var& s, const Var& t, const Labels& y) { return (*own)(z, s, t, y); };
      else this->u = [own = model](const Var& z, const Var&, const Var& t, const Labels& y) { return (*own)(z, t, y); };
      if constexpr (requires(const Var& x, const Labels& y) { model->joint(x, x, x, y); })
        if (model->config.class_token > 0) {
          this->beside = model->config.class_token;
          this->joint = [own = model](const Var& z, const Var& k, const Var& t, const Labels& y) {
            auto [of_z, of_k] = own->joint(z, k, t, y);
            return std::pair(std::move(of_z), std::move(of_k));
          };
        }
    }
    std::vector<NamedParameter> parameters() const override { return named_parameters(*model); }
    StateDict state() const override { return state_dict(*model); }
    Network clone() const override { return Network(std::make_shared<M>(fm::clone(*model))); }
    void freeze() const override { set_trainable(*model, false); }
    void load(const Weights& weights) const override { load_model(*model, weights); }
    std::string precision() const override {
      if constexpr (requires { model->config.precision; }) return model->config.precision;
      else return "f32";
    }
    Network in_precision(const std::string& wanted) const override {
      auto out = std::make_shared<M>(fm::clone(*model));
      if constexpr (requires { out->config.precision; }) out->config.precision = wanted;
      else if (wanted != "f32") throw ConfigError("this network computes only in f32; precision " + wanted + " is not available");
      return Network(std::move(out));
    }
    Network in_f64() const override {
      auto out = std::make_shared<M>(fm::clone(*model));
      if constexpr (requires { out->config.precision; }) out->config.precision = "f32";
      to_dtype(*out, DType::f64);
      return Network(std::move(out));
    }
    void follow(const Held& leader, double decay) const override {
      const auto* other = dynamic_cast<const Model*>(&leader);
      if (other == nullptr) throw Error("a network can only follow a network of its own kind");
      fm::follow(*model, *other->model, decay);
    }
    std::shared_ptr<M> model;
  };

  const Held& held() const {
    if (!held_) throw Error("this Network is empty: make or load a network first");
    return *held_;
  }

  std::shared_ptr<const Held> held_;
};

}  // namespace fm
