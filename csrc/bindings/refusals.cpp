#include "refusals.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/functions/basic_ops.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/library.h>

#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace elite_ops {
namespace {

using torch::jit::Stack;

// Calls `body` with each tensor among the last `count` values of the stack, in lists too.
template <typename Body>
void for_each_tensor(const Stack& stack, size_t count, const Body& body) {
  for (size_t i = stack.size() - count; i < stack.size(); ++i) {
    if (stack[i].isTensor()) {
      body(stack[i].toTensor());
    } else if (stack[i].isTensorList()) {
      for (const at::Tensor& t : stack[i].toTensorList().vec()) body(t);
    } else if (stack[i].isList()) {  // of tensors that may be left out
      for (const c10::IValue& value : stack[i].toListRef()) {
        if (value.isTensor()) body(value.toTensor());
      }
    }
  }
}

bool is_floating(const at::Tensor& t) { return t.defined() && at::isFloatingType(t.scalar_type()); }

size_t num_arguments(const c10::OperatorHandle& op) { return op.schema().arguments().size(); }
size_t num_results(const c10::OperatorHandle& op) { return op.schema().returns().size(); }

// The op's name without its library.
std::string name_of(const c10::OperatorHandle& op) {
  return op.schema().name().substr(std::string_view("elite_ops::").size());
}

// Below the derivatives of every op, which hide the tangents that they deal with.
void refuse_tangents(const c10::OperatorHandle& op, c10::DispatchKeySet keys, Stack* stack) {
  bool has_tangent = false;
  for_each_tensor(*stack, num_arguments(op),
                  [&](const at::Tensor& t) { has_tangent |= torch::autograd::isFwGradDefined(t); });
  {
    const at::AutoDispatchBelowADInplaceOrView guard;
    op.redispatchBoxed(keys & c10::after_ADInplaceOrView_keyset, stack);
  }
  if (!has_tangent) return;
  for_each_tensor(*stack, num_results(op), [&](const at::Tensor& t) {
    TORCH_CHECK_NOT_IMPLEMENTED(!is_floating(t), name_of(op),
                                ": has no forward-mode derivative, only a reverse-mode one");
  });
}

void refuse_tracing(const c10::OperatorHandle& op, Stack*) {
  TORCH_CHECK_NOT_IMPLEMENTED(false, name_of(op),
                              ": torch.jit.trace would keep the sizes of its example; use "
                              "torch.export or torch.compile");
}

std::string no_derivative_of(const std::string& name) {
  const size_t end = name.find("_backward");
  if (end == std::string::npos) return name + ": has no derivative";
  return name.substr(0, end) + ": has no second derivative";
}

// A step of the backward pass that raises; older torch holds steps by shared_ptr.
template <typename Step = torch::autograd::Error,
          typename Pointer = decltype(torch::autograd::Edge::function)>
Pointer raise(std::string message, const torch::autograd::variable_list& sources) {
  auto edges = torch::autograd::collect_next_edges(sources);
  if constexpr (std::is_same_v<Pointer, std::shared_ptr<torch::autograd::Node>>) {
    return std::make_shared<Step>(std::move(message), std::move(edges));
  } else {
    return c10::make_intrusive<Step>(std::move(message), std::move(edges));
  }
}

// Results that depend on tensors with a gradient get one that raises.
void refuse_gradients(const c10::OperatorHandle& op, c10::DispatchKeySet keys, Stack* stack) {
  torch::autograd::variable_list sources;
  if (at::GradMode::is_enabled()) {
    for_each_tensor(*stack, num_arguments(op), [&](const at::Tensor& t) {
      if (t.defined() && t.requires_grad()) sources.push_back(t);
    });
  }
  {
    const at::AutoDispatchBelowAutograd guard;
    op.redispatchBoxed(keys & c10::after_autograd_keyset, stack);
  }
  if (sources.empty()) return;
  const auto node = raise(no_derivative_of(name_of(op)), sources);
  for_each_tensor(*stack, num_results(op), [&](const at::Tensor& t) {
    if (is_floating(t)) torch::autograd::set_history(t, node);
  });
}

std::vector<c10::OperatorName> all_ops() {
  std::vector<c10::OperatorName> ops;
  for (const c10::OperatorName& name : c10::Dispatcher::singleton().getAllOpNames()) {
    if (name.name.starts_with("elite_ops::")) ops.push_back(name);
  }
  return ops;
}

// A place to register kernels for all of the process's life.
torch::Library& library_of(c10::DispatchKey key) {
  return *new torch::Library(torch::Library::IMPL, "elite_ops", key, __FILE__, __LINE__);
}

}  // namespace

void refuse_forward_mode_and_tracing() {
  torch::Library& tangents = library_of(c10::DispatchKey::ADInplaceOrView);
  torch::Library& tracing = library_of(c10::DispatchKey::Tracer);
  for (const c10::OperatorName& op : all_ops()) {
    const char* name = op.name.c_str();
    tangents.impl(name, torch::CppFunction::makeFromBoxedFunction<&refuse_tangents>());
    tracing.impl(name, torch::CppFunction::makeFromBoxedFunction<&refuse_tracing>());
  }
}

void refuse_missing_derivatives() {
  torch::Library& gradients = library_of(c10::DispatchKey::Autograd);
  for (const c10::OperatorName& op : all_ops()) {
    const auto handle = c10::Dispatcher::singleton().findSchemaOrThrow(op.name.c_str(), "");
    if (handle.hasKernelForDispatchKey(c10::DispatchKey::Autograd)) continue;
    gradients.impl(op.name.c_str(), torch::CppFunction::makeFromBoxedFunction<&refuse_gradients>());
  }
}

}  // namespace elite_ops
